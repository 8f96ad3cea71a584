"""Simple conditions on one argument, written as CEL for people who do not write it. Pure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from policies.types import Effect

_PLAIN: Final = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")
_WORDS: Final = frozenset(
    (
        *(
            "as",
            "break",
            "const",
            "continue",
            "else",
            "false",
            "for",
            "function",
            "if",
            "import",
            "in",
            "let",
            "loop",
        ),
        *("null", "package", "namespace", "return", "true", "var", "void", "while"),
    )
)
"""What CEL keeps for itself, so that it cannot stand behind a dot."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What people choose. `cel` takes `{argument}` and `{value}`; `holds_when_absent` where nothing was given."""

    label: str
    cel: str
    takes: str = "value"
    holds_when_absent: bool = False


OPERATORS: Final[Mapping[str, Operator]] = {
    "is": Operator("is", "{argument} == {value}"),
    "is-not": Operator("is not", "{argument} != {value}", holds_when_absent=True),
    "one-of": Operator("is one of", "{argument} in {value}", "list"),
    "starts": Operator("starts with", "{argument}.startsWith({value})", "text"),
    "starts-not": Operator("does not start with", "!{argument}.startsWith({value})", "text", holds_when_absent=True),
    "ends": Operator("ends with", "{argument}.endsWith({value})", "text"),
    "contains": Operator("contains", "{argument}.contains({value})", "text"),
    "matches": Operator("matches (RE2)", "{argument}.matches({value})", "text"),
    "least": Operator("is at least", "{argument} >= {value}"),
    "most": Operator("is at most", "{argument} <= {value}"),
    "given": Operator("is given", "{given}", "nothing"),
    "missing": Operator("is not given", "!({given})", "nothing"),
}


def build(effect: Effect, argument: str, operator: str, value: str) -> str:
    """The condition in CEL. `value` is JSON or plain text; a list is separated by commas.

    Where an argument is absent, a comparison cannot be evaluated, which counts against the caller. A deny or ask
    that is about a value therefore asks first whether there is one; "is not" holds without one, as people mean it.
    """
    chosen = OPERATORS[operator]
    named = _PLAIN.match(argument) and argument not in _WORDS
    path = f"arguments.{argument}" if named else f"arguments[{_text(argument)}]"
    given = f"has({path})" if named else f"{_text(argument)} in arguments"
    condition = chosen.cel.format(argument=path, value=_VALUES[chosen.takes](value), given=given)
    guarded = effect != "allow" and chosen.takes != "nothing" and not chosen.holds_when_absent
    return f"{given} && {condition}" if guarded else condition


def joined(condition: str, more: str) -> str:
    """Both conditions."""
    first = condition.strip()
    if not first:
        return more
    return f"({first}) && {more}" if "||" in first or "?" in first else f"{first} && {more}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _value(text: str) -> str:
    """A number, a truth value, null or quoted text as it stands; all else as text."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        return _text(text)
    return json.dumps(found, ensure_ascii=False) if not isinstance(found, dict | list) else _text(text)


def _list(text: str) -> str:
    return f"[{', '.join(_value(part.strip()) for part in text.split(',') if part.strip())}]"


_VALUES: Final[Mapping[str, Callable[[str], str]]] = {"value": _value, "text": _text, "list": _list, "nothing": str}
