"""What is new or suspicious in a definition: a closed list of kinds, each with its place. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from upstreams.ledger import schemas, texts
from upstreams.ledger.likeness import likeness
from upstreams.ledger.schemas import Effect
from upstreams.naming import SEPARATOR

DETAIL_CHARS: Final = 200
SCHEMAS: Final = ("inputSchema", "outputSchema")


class ChangeKind(StrEnum):
    """Everything that the ledger tells apart."""

    DESCRIPTION = "description"
    SCHEMA_WIDENED = "schema_widened"
    SCHEMA_NARROWED = "schema_narrowed"
    SCHEMA_CHANGED = "schema_changed"
    ANNOTATIONS = "annotations"
    OTHER = "other"
    RENAME = "rename"
    LOOKALIKE = "lookalike"
    HIDDEN_CHARACTERS = "hidden_characters"
    INSTRUCTIONS = "instructions"
    FOREIGN_TOOL = "foreign_tool"


SUSPICIOUS: Final = frozenset(
    {
        ChangeKind.RENAME,
        ChangeKind.LOOKALIKE,
        ChangeKind.HIDDEN_CHARACTERS,
        ChangeKind.INSTRUCTIONS,
        ChangeKind.FOREIGN_TOOL,
    }
)
"""What is worth a look in a new definition too."""

OF_EFFECT: Final[Mapping[Effect, ChangeKind]] = {
    Effect.WORDS: ChangeKind.DESCRIPTION,
    Effect.WIDENED: ChangeKind.SCHEMA_WIDENED,
    Effect.NARROWED: ChangeKind.SCHEMA_NARROWED,
    Effect.CHANGED: ChangeKind.SCHEMA_CHANGED,
}

OF_MEMBER: Final[Mapping[str, ChangeKind]] = {
    "title": ChangeKind.DESCRIPTION,
    "description": ChangeKind.DESCRIPTION,
    "annotations": ChangeKind.ANNOTATIONS,
    "arguments": ChangeKind.SCHEMA_CHANGED,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to look at: its place in the definition, and a few words of it."""

    kind: ChangeKind
    where: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a definition is compared with: tools of the org's other upstreams, as (slug, name)."""

    own_slug: str
    foreign: tuple[tuple[str, str], ...] = ()

    def names(self) -> Iterable[str]:
        return (name for _, name in self.foreign)


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """How two versions of one definition differ."""
    return tuple(_differing(before, after))


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for member in dict.fromkeys((*before, *after)):
        old, new = before.get(member), after.get(member)
        if old == new and (member in before) == (member in after):
            continue
        if member in SCHEMAS:
            for each in schemas.differences(old or {}, new or {}, member):
                yield Change(OF_EFFECT[each.effect], each.path)
        else:
            yield Change(OF_MEMBER.get(member, ChangeKind.OTHER), member)


def suspicions(definition: Mapping[str, Any], kind: str, around: Surroundings) -> tuple[Change, ...]:
    """What in a definition is worth a look, whether it is new or not."""
    return (*_in_words(definition, around), *_in_name(definition, kind, around))


def _in_words(definition: Mapping[str, Any], around: Surroundings) -> Iterator[Change]:
    publics = [f"{slug}{SEPARATOR}{name}" for slug, name in around.foreign if slug != around.own_slug]
    for path, text in texts.texts_of(definition):
        if hidden := texts.hidden_in(text):
            yield Change(ChangeKind.HIDDEN_CHARACTERS, path, _short(", ".join(hidden)))
        if said := texts.to_the_model(text):
            yield Change(ChangeKind.INSTRUCTIONS, path, _short(said))
        if SEPARATOR in text and (spoken := next((each for each in publics if each in text), "")):
            yield Change(ChangeKind.FOREIGN_TOOL, path, spoken)


def _in_name(definition: Mapping[str, Any], kind: str, around: Surroundings) -> Iterator[Change]:
    name = definition.get("name")
    if kind == "tool" and isinstance(name, str) and (other := likeness(name, around.names())):
        slug = next(slug for slug, theirs in around.foreign if theirs == other)
        yield Change(ChangeKind.LOOKALIKE, "name", f"{slug}/{other}")


def renamed_from(definition: Mapping[str, Any], gone: Mapping[str, Mapping[str, Any]]) -> Change | None:
    """The definition that disappeared in the same listing and differs in nothing but its name."""
    own = _nameless(definition)
    old = next((name for name, before in gone.items() if _nameless(before) == own), None)
    return None if old is None else Change(ChangeKind.RENAME, "name", _short(old))


def _nameless(definition: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in definition.items() if name not in ("name", "title")}
    return json.dumps(rest, sort_keys=True)


def _short(text: str) -> str:
    return text if len(text) <= DETAIL_CHARS else f"{text[: DETAIL_CHARS - 1]}…"
