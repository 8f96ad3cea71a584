"""A hub's connections to real upstreams, with a book kept in memory."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from django.conf import settings

from mcphub.core.limits import Limits
from upstreams.connections import Connections
from upstreams.errors import RpcError
from upstreams.probe import Means
from upstreams.reports import DueWork, Listing, Report
from upstreams.runners.subprocess import SubprocessRunner
from upstreams.types import Exchange, UpstreamSpec

TIME = {"transport": "stdio", "command": sys.executable, "args": ("-m", "mcp_server_time", "--local-timezone", "UTC")}


class MemoryBook:
    """Keeps reports as the database would, and lets a test wait for one."""

    def __init__(self) -> None:
        self.reports: dict[str, Report] = {}
        self.history: list[tuple[str, Report]] = []
        self.listings: dict[str, Listing] = {}
        self.work = DueWork({}, {})
        self.changed = asyncio.Condition()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def report(self, upstream_id: str, report: Report) -> None:
        self.reports[upstream_id] = report
        self.history.append((upstream_id, report))
        await self._tell()

    async def alive(self, upstream_id: str) -> None:
        await self._tell()

    async def catalogue(self, upstream_id: str, holder: str, listing: Listing) -> bool:
        differs = self.listings.get(upstream_id) != listing
        self.listings[upstream_id] = listing
        await self._tell()
        return differs

    async def people_due(self, upstream_id: str, every_s: float | None) -> Sequence[str]:
        return ()

    async def due(self) -> DueWork:
        return self.work

    async def take(self, upstream_id: str, work: str, asked_at: datetime) -> bool:
        self.work = DueWork({}, {})
        return True

    async def until(self, condition: Any, within: float = 20) -> None:
        """Wait until `condition()` holds; checked after each report."""
        async with asyncio.timeout(within), self.changed:
            await self.changed.wait_for(condition)


@dataclass
class Listening:
    """A client's side of one exchange: keeps what arrives, answers what is asked."""

    notes: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    reply: Any = None
    noted: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self.notes.append((method, params))
        self.noted.set()

    async def ask(self, method: str, params: Mapping[str, Any]) -> Any:
        self.asked.append((method, params))
        return self.reply if self.reply is not None else RpcError(-32601, "refused by the test")


def spec(**facts: Any) -> UpstreamSpec:
    """A specification with loopback allowed, since test upstreams live there."""
    defaults: dict[str, Any] = {
        "id": "u1",
        "org_id": "o1",
        "slug": "thing",
        "revision": 1,
        "transport": "auto",
        "egress_allow": ("127.0.0.1",),
    }
    return UpstreamSpec(**(defaults | facts))


def tool(name: str, arguments: dict[str, Any] | None = None, **facts: Any) -> Exchange:
    """A tools/call exchange."""
    return Exchange(
        "tools/call", {"name": name, "arguments": arguments or {}}, facts.pop("sink", Listening()), **facts
    )


@pytest.fixture
def book() -> MemoryBook:
    return MemoryBook()


@pytest.fixture
def limits() -> Limits:
    return Limits(stop_grace_s=1, backoff_max_s=2)


@pytest.fixture
async def hub(book: MemoryBook, limits: Limits) -> AsyncIterator[Connections]:
    runner = SubprocessRunner(
        stderr_bytes=limits.stderr_bytes, grace_s=limits.stop_grace_s, files=settings.HUB.data_dir / "lent"
    )
    connections = Connections(Means(limits, runner), book)
    await connections.start()
    yield connections
    await connections.stop()
