"""Finding the few rules that can decide a call among many thousands.

Each rule is filed once under what narrows it most: its exact role, its exact upstream, and its exact names or
their literal ends. A look-up walks the matching files in priority order and stops at the first rule that
decides without a condition.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from types import MappingProxyType
from typing import Final, Literal

from policies.conditions import Condition
from policies.globs import Globs
from policies.types import Effect, Kind, Risk, Target

NO_SWITCHES: Final[Mapping[tuple[Kind, str], bool]] = MappingProxyType({})
_NO_POSITIONS: Final[list[int]] = []


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One compiled line of policy: a rule, or what a grant opens. `outside` are upstreams it does not speak of.

    An `unreadable` one holds always, because its condition could not be compiled.
    """

    source: Literal["rule", "grant"]
    id: str
    name: str
    effect: Effect
    reason: str
    kinds: frozenset[Kind]
    roles: Globs
    upstreams: Globs
    tools: Globs
    risks: frozenset[Risk]
    applications: Globs
    condition: Condition | None = None
    unreadable: bool = False
    outside: frozenset[str] = frozenset()
    switches: Mapping[tuple[Kind, str], bool] = field(default_factory=lambda: NO_SWITCHES)

    def matches_target(self, target: Target) -> bool:
        """Whether the target is one this line speaks of, whoever asks."""
        if (
            target.kind not in self.kinds
            or target.upstream in self.outside
            or not self.upstreams.match(target.upstream)
        ):
            return False
        switch = self.switches.get((target.kind, target.name)) if self.switches else None
        if switch is not None:
            return switch
        return target.risk in self.risks and self.tools.match(target.name)

    def matches_caller(self, roles: frozenset[str], application: str) -> bool:
        """Whether the line speaks of a caller with these roles and this application."""
        return self.applications.match(application) and self.roles.match_one(roles)


@dataclass(slots=True, eq=False)
class _Names:
    """Positions filed by name."""

    exact: dict[str, list[int]] = field(default_factory=dict)
    starts: dict[int, dict[str, list[int]]] = field(default_factory=dict)
    ends: dict[int, dict[str, list[int]]] = field(default_factory=dict)
    rest: list[int] = field(default_factory=list)

    def add(self, position: int, entry: Entry) -> None:
        if entry.switches or entry.tools.any:
            self.rest.append(position)
            return
        for name in entry.tools.exact:
            self.exact.setdefault(name, []).append(position)
        for glob in entry.tools.wild:
            if glob.prefix:
                by_text = self.starts.setdefault(len(glob.prefix), {})
                by_text.setdefault(glob.prefix, []).append(position)
            elif glob.suffix:
                by_text = self.ends.setdefault(len(glob.suffix), {})
                by_text.setdefault(glob.suffix, []).append(position)
            else:
                self.rest.append(position)

    def files(self, name: str) -> Iterator[list[int]]:
        yield self.exact.get(name, _NO_POSITIONS)
        for length, by_text in self.starts.items():
            yield by_text.get(name[:length], _NO_POSITIONS)
        for length, by_text in self.ends.items():
            yield by_text.get(name[-length:], _NO_POSITIONS)
        yield self.rest


_ByUpstream = dict[str | None, _Names]


class Index:
    """The files over an ordered list of entries."""

    __slots__ = ("_by_role", "_entries")

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self._entries = entries
        self._by_role: dict[str | None, _ByUpstream] = {}
        for position, entry in enumerate(entries):
            for role in _keys(entry.roles):
                by_upstream = self._by_role.setdefault(role, {})
                for upstream in _keys(entry.upstreams):
                    by_upstream.setdefault(upstream, _Names()).add(position, entry)

    def candidates(self, roles: frozenset[str], application: str, target: Target) -> Iterator[Entry]:
        """The entries that speak of this caller and target, in order, conditions not yet asked."""
        before = -1
        for position in merge(*self._files(roles, target)):
            if position == before:
                continue
            before = position
            entry = self._entries[position]
            if entry.matches_target(target) and entry.matches_caller(roles, application):
                yield entry

    def _files(self, roles: frozenset[str], target: Target) -> list[list[int]]:
        found: list[list[int]] = []
        for role in (None, *roles):
            by_upstream = self._by_role.get(role)
            if by_upstream is None:
                continue
            for upstream in (None, target.upstream):
                if (names := by_upstream.get(upstream)) is not None:
                    found.extend(filter(None, names.files(target.name)))
        return found


def _keys(globs: Globs) -> Iterable[str | None]:
    """The exact texts to file under, or only `None` where a text that nobody lists may match."""
    return (None,) if globs.any or globs.wild else globs.exact
