"""What a change of a JSON schema means: does it take more than before, less, or something else. Pure."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

WORDS: Final = frozenset({"title", "description", "examples", "default", "deprecated", "$comment", "$schema", "$id"})
SUBSCHEMAS: Final = frozenset({"additionalProperties", "items", "contains", "propertyNames", "unevaluatedProperties"})
NAMED: Final = frozenset({"patternProperties", "$defs", "definitions", "dependentSchemas"})
LOWER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"})
UPPER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"})
CHOICES: Final = frozenset({"enum", "anyOf", "oneOf"})
DEPTH: Final = 32


class Effect(StrEnum):
    """What a difference does to the values that a schema takes."""

    WORDS = "words"
    WIDENED = "widened"
    NARROWED = "narrowed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two schemas differ."""

    path: str
    effect: Effect


def differences(before: Any, after: Any, path: str, depth: int = 0) -> Iterator[Difference]:
    """Every difference of two schemas, with its path (JSON Schema 2020-12; what is not known counts as changed)."""
    if before == after:
        return
    if not isinstance(before, Mapping) or not isinstance(after, Mapping) or depth > DEPTH:
        yield Difference(path, _whole(before, after))
        return
    for keyword in dict.fromkeys((*before, *after)):
        if before.get(keyword) != after.get(keyword) or (keyword in before) != (keyword in after):
            yield from _keyword(keyword, before, after, f"{path}.{keyword}", depth + 1)


def _whole(before: Any, after: Any) -> Effect:
    if after is True or after == {}:
        return Effect.WIDENED
    if after is False or before in (True, {}):
        return Effect.NARROWED
    return Effect.WIDENED if before is False else Effect.CHANGED


def _keyword(
    keyword: str, before: Mapping[str, Any], after: Mapping[str, Any], path: str, depth: int
) -> Iterator[Difference]:
    old, new = before.get(keyword), after.get(keyword)
    if keyword in WORDS:
        yield Difference(path, Effect.WORDS)
    elif keyword == "properties" or keyword in NAMED:
        yield from _members(old, new, path, depth)
    elif keyword in SUBSCHEMAS:
        yield from differences(before.get(keyword, True), after.get(keyword, True), path, depth)
    else:
        yield Difference(path, _EFFECTS.get(keyword, _constraint)(old, new))


def _members(old: Any, new: Any, path: str, depth: int) -> Iterator[Difference]:
    old, new = (side if isinstance(side, Mapping) else {} for side in (old, new))
    for name in dict.fromkeys((*old, *new)):
        here = f"{path}.{name}"
        if name not in old:
            yield Difference(here, Effect.WIDENED)
        elif name not in new:
            yield Difference(here, Effect.NARROWED)
        else:
            yield from differences(old[name], new[name], here, depth)


def _constraint(old: Any, new: Any) -> Effect:
    """A constraint that came narrows, one that went widens."""
    if old is None:
        return Effect.NARROWED
    return Effect.WIDENED if new is None else Effect.CHANGED


def _required(old: Any, new: Any) -> Effect:
    return _sets(new or [], old or [])


def _choices(old: Any, new: Any) -> Effect:
    return _constraint(old, new) if old is None or new is None else _sets(old, new)


def _types(old: Any, new: Any) -> Effect:
    if old is None or new is None:
        return _constraint(old, new)
    return _sets(*(_with_integer(side if isinstance(side, list) else [side]) for side in (old, new)))


def _with_integer(types: list[Any]) -> list[Any]:
    return [*types, "integer"] if "number" in types else types


def _sets(old: Any, new: Any) -> Effect:
    had, has = _members_of(old), _members_of(new)
    if had < has:
        return Effect.WIDENED
    return Effect.NARROWED if has < had else Effect.CHANGED


def _members_of(values: Any) -> set[str]:
    return {json.dumps(value, sort_keys=True) for value in (values if isinstance(values, list) else [values])}


def _bound(widens: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Effect]:
    def effect(old: Any, new: Any) -> Effect:
        if isinstance(old, int | float) and isinstance(new, int | float):
            return Effect.WIDENED if widens(old, new) else Effect.NARROWED
        return _constraint(old, new)

    return effect


_EFFECTS: Final[Mapping[str, Callable[[Any, Any], Effect]]] = {
    "required": _required,
    "type": _types,
    **dict.fromkeys(CHOICES, _choices),
    **dict.fromkeys(LOWER, _bound(lambda old, new: new < old)),
    **dict.fromkeys(UPPER, _bound(lambda old, new: new > old)),
}
