r"""`${NAME}` in commands, arguments, URLs, headers and environments; `\${NAME}` stays as it is written.

`${NAME:-default}` gives a default, as in the files of several clients.
"""

import re
from collections.abc import Container, Iterable, Mapping
from typing import Final

from audit.redaction import Redactor

BUILT_IN: Final = ("HOME", "DATA_DIR")
NAME: Final = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")

PLACES: Final = ("file", "path", "dir", "folder")
IN_ARGV: Final = "every process of the machine can read it there; pass it as a variable of the environment"
"""Why a secret may not stand in a command or its arguments, and what to do."""

_SECRETS: Final = Redactor()
_REFERENCE: Final = re.compile(r"(?P<escape>\\)?\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class UndefinedVariable(ValueError):
    """A text refers to a variable that has neither a value nor a default."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the variable ${{{name}}} is not defined")
        self.name = name


def required_names(texts: Iterable[str]) -> tuple[str, ...]:
    """The names that must have a value before `texts` can be filled in, in order, each once."""
    found = (match for text in texts for match in _REFERENCE.finditer(text))
    names = (match["name"] for match in found if not match["escape"] and match["default"] is None)
    return tuple(dict.fromkeys(names))


def mentioned_names(texts: Iterable[str]) -> tuple[str, ...]:
    """All names that `texts` refer to, with a default or without, each once."""
    found = (match for text in texts for match in _REFERENCE.finditer(text))
    return tuple(dict.fromkeys(match["name"] for match in found if not match["escape"]))


def secrets_in(texts: Iterable[str], values: Mapping[str, str], files: Container[str] = ()) -> tuple[str, ...]:
    """The names in `texts` whose variables are secrets, by their name or the shape of their value.

    Variables that stand for the path of a file, `files`, are none.
    """
    names = (name for name in mentioned_names(texts) if name not in files)
    return tuple(name for name in names if _is_secret(name, values.get(name, "")))


def _is_secret(name: str, value: str) -> bool:
    plain: int | str = int(value) if value.isdecimal() else value
    named_so = _SECRETS.is_secret(name, plain) and not name.lower().endswith(PLACES)
    return named_so or _SECRETS.text(value) != value


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with every reference replaced, once (values are not searched again). Raises `UndefinedVariable`."""

    def value_of(match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0][1:]
        value = values.get(match["name"], match["default"])
        if value is None:
            raise UndefinedVariable(match["name"])
        return value

    return _REFERENCE.sub(value_of, text)
