"""What the connections tell the rest of the hub about upstreams, and where they ask what is due."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from upstreams.types import ServerFacts

State = Literal["connecting", "up", "resting", "down", "stopped"]
"""`resting`: it answers, but its calls failed so often that the breaker lets only trials through."""

Listing = Mapping[str, Sequence[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Report:
    """How an upstream is now. `error` is in words, for operators; `facts` are kept when None."""

    state: State
    facts: ServerFacts | None = None
    error: str = ""
    stderr_tail: str = ""


@dataclass(frozen=True, slots=True)
class DueWork:
    """What somebody asked for: upstream id → when."""

    refresh: Mapping[str, datetime]
    restart: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the process that runs an upstream found it last."""

    facts: ServerFacts
    down: bool


class Book(Protocol):
    """Where states and catalogues are kept. Failures to write are the book's to log: links live on."""

    async def report(self, upstream_id: str, report: Report) -> None:
        """Keep the state of one upstream."""

    async def alive(self, upstream_id: str) -> None:
        """It answered just now."""

    async def catalogue(self, upstream_id: str, holder: str, listing: Listing) -> bool:
        """Keep what it offers; whether anything differs from before."""

    async def people_due(self, upstream_id: str, every_s: float | None) -> Sequence[str]:
        """Whose own definitions are to be read: of those who were never listed, or used their account since the last
        time, `every_s` ago at least; None: of everybody.
        """

    async def due(self) -> DueWork:
        """What is asked for and not done yet."""

    async def take(self, upstream_id: str, work: Literal["refresh", "restart"], asked_at: datetime) -> bool:
        """Claim one piece of due work; False when another process has it."""

    async def standing(self, upstream_ids: Collection[str]) -> Mapping[str, Standing]:
        """What is written of those of them that were ever reached."""
