"""Which roles follow from what an identity provider says of somebody. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

PEOPLE: Final = "people"
"""The source of claims of people who signed in at the hub; any other source is the name of an issuer of tokens."""

PRESENT: Final = "*"


@dataclass(frozen=True, slots=True)
class MappingSpec:
    """One line: where `claim` holds one of `values`, these `roles` follow. `sources` empty: from anywhere."""

    name: str
    claim: str
    values: frozenset[str]
    roles: tuple[str, ...]
    sources: frozenset[str] = frozenset()

    def matches(self, source: str, claims: Mapping[str, Any]) -> bool:
        """Texts and booleans match as a whole, a list by one of its texts; `*` matches anything but "" and false."""
        if self.sources and source not in self.sources:
            return False
        said = texts_of(claims.get(self.claim))
        return bool(said & self.values) or (PRESENT in self.values and bool(said - {"", "false"}))


@dataclass(frozen=True, slots=True)
class Mapped:
    """What claims give: the roles, and the names of the lines that gave them."""

    roles: frozenset[str]
    lines: tuple[str, ...]


def mapped(specs: Iterable[MappingSpec], source: str, claims: Mapping[str, Any]) -> Mapped:
    """The roles of all lines that match."""
    found = [spec for spec in specs if spec.matches(source, claims)]
    return Mapped(frozenset(role for spec in found for role in spec.roles), tuple(spec.name for spec in found))


def texts_of(claim: Any) -> frozenset[str]:
    """The texts of a claim: itself, `true` or `false`, or the texts in a list; nothing for anything else."""
    if isinstance(claim, bool):
        return frozenset({"true" if claim else "false"})
    if isinstance(claim, str):
        return frozenset({claim})
    if isinstance(claim, list | tuple):
        return frozenset(item for item in claim if isinstance(item, str))
    return frozenset()
