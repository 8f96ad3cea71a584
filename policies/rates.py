"""How often calls may be made: an org's limits, and which of them one call counts toward. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from policies.globs import Globs
from policies.types import Target

Per = Literal["principal", "org", "upstream", "tool"]
PERS: Final[tuple[Per, ...]] = ("principal", "org", "upstream", "tool")
MOST_FOUND: Final = 50_000


@dataclass(frozen=True, slots=True)
class RateSpec:
    """At most `calls` in any `seconds`, counted for each principal, upstream or tool by itself, or for all together.

    `roles`, `upstreams` and `tools` are globs that say of which calls it speaks; empty means any.
    """

    id: str
    name: str
    per: Per
    calls: int
    seconds: int
    roles: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()

    def speaks_of(self, roles: frozenset[str], target: Target) -> bool:
        """Whether a call counts."""
        return (
            Globs.of(self.roles).match_one(roles)
            and Globs.of(self.upstreams).match(target.upstream)
            and Globs.of(self.tools).match(target.name)
        )

    def key(self, principal_id: str, target: Target) -> str:
        """What it counts together."""
        of: dict[Per, str] = {
            "principal": principal_id,
            "org": "",
            "upstream": target.upstream,
            "tool": f"{target.upstream}/{target.name}",
        }
        return f"{self.id}/{of[self.per]}"

    def told(self, wait_s: int) -> str:
        """The refusal in words."""
        each = "" if self.per == "org" else f" for each {self.per}"
        often = f"{self.calls} call{'s' if self.calls != 1 else ''} in {self.seconds} s{each}"
        return f"The limit {self.name!r} allows {often}. Wait {wait_s} s."


class Rates:
    """The limits of one org at one config version. False when there are none."""

    def __init__(self, specs: Iterable[RateSpec] = ()) -> None:
        self._specs: Final = tuple(specs)
        self._found: dict[tuple[frozenset[str], str, str], tuple[RateSpec, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._specs)

    def of(self, roles: frozenset[str], target: Target) -> tuple[RateSpec, ...]:
        """The limits that a call counts toward; remembered, as long as names chosen by clients allow it."""
        key = (roles, target.upstream, target.name)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            found = self._found[key] = tuple(spec for spec in self._specs if spec.speaks_of(roles, target))
        return found


NO_RATES: Final = Rates()
