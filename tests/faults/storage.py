"""What clients get while the hub's storage fails: a refusal in bounded time, and nothing happens at the upstream."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.faults.baseline import Baseline, WatchedHub
from tests.faults.conftest import evil_upstream
from tests.faults.histories import Told, faults, join, joined, record, tell
from tests.faults.truth import Truth
from tests.harness.installs import Install, installed
from tests.harness.raw import ERAS, RawClient, RpcFailed, ask, raw_client
from tests.harness.services import PostgreSQL
from tests.harness.waiting import until

AT_ONCE: Final = 20
MOST: Final = 100
"""As many calls as a client of the tests has connections."""

BACK_S: Final = 15
TOOL: Final = "evil__act"


@dataclass(frozen=True, slots=True)
class Stored:
    """A hub, its upstream's account, and its database where that is a process of its own."""

    hub: WatchedHub
    truth: Truth
    postgresql: PostgreSQL | None


@contextmanager
def stored(install: Install, folder: Path, **settings: str) -> Iterator[Stored]:
    """Such a hub, on which every kind of request has been made. Not for use within a running event loop."""
    with (
        evil_upstream(folder, "both") as (servers, truth),
        installed(install, folder / "hub", servers, WatchedHub, **settings) as (hub, postgresql),
    ):
        hub.until_listed("evil")
        asyncio.run(_warm(hub))
        yield Stored(hub, truth, postgresql)


async def _warm(hub: WatchedHub) -> None:
    for era in ERAS:
        async with raw_client(hub.mcp_url, hub.key, era) as client:
            await asyncio.gather(*(tell(client, TOOL, do="echo", pause=1) for _ in range(MOST)))


class Outage:
    """A fault of the storage, from the first refusal to the return to the baseline."""

    def __init__(self, at: Stored) -> None:
        self._at: Final = at
        self._told: Final[list[Told]] = []
        self._pid: Final = at.hub.process.pid
        self._before: Final = Baseline(at.hub)

    async def expect_refused(self, client: RawClient, within: float) -> set[str]:
        """Many calls at once are refused in that time and none reaches the upstream; the reasons that were given."""
        arrived = self._at.truth.arrived().total()
        told = await asyncio.gather(*(tell(client, TOOL, do="echo") for _ in range(AT_ONCE)))
        assert self._at.truth.arrived().total() == arrived, "a refused call was dispatched"
        assert all(each.error is not None for each in told), "a call was made"
        assert {(each.error or {}).get("outcome") for each in told} == {"not_sent"}
        assert all("It was not sent" in each.text for each in told)
        assert max(each.took_s for each in told) <= within
        self._told.extend(told)
        return {str((each.error or {})["reason"]) for each in told}

    async def crowd(self, client: RawClient, count: int) -> tuple[int, int]:
        """Calls at once, of which each is either made or refused in time; how many of both."""
        told = await asyncio.gather(*(tell(client, TOOL, do="echo") for _ in range(count)))
        refused = [each for each in told if each.error is not None]
        assert {(each.error or {}).get("reason") for each in refused} <= {"audit_unavailable"}
        self._told.extend(told)
        return len(told) - len(refused), len(refused)

    def expect_back(self) -> None:
        """Calls work again by themselves, all histories agree, and the same process holds no more than before."""
        until("calls that work", self._works, BACK_S)
        until("readiness", self._at.hub.is_ready, BACK_S)
        assert self._at.hub.process.pid == self._pid
        joined(self._at.hub, self._at.truth, ())
        assert faults(join(self._told, self._at.truth, record(self._at.hub))) == []
        self._before.expect_return()

    def _works(self) -> bool:
        try:
            ask(self._at.hub.mcp_url, self._at.hub.key, "tools/call", {"name": TOOL, "arguments": {"do": "echo"}})
        except RpcFailed as failed:
            if failed.status != httpx.codes.SERVICE_UNAVAILABLE:
                raise
            return False
        return True


async def expect_503(hub: WatchedHub, within: float, key: str | None = None) -> None:
    """Handshakes with this key, many at once, are refused in that time with the word to come again."""
    greeting = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": greeting}
    headers = {"Authorization": f"Bearer {key or hub.key}", "Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        answers = await asyncio.gather(
            *(http.post(hub.mcp_url, json=message, headers=headers) for _ in range(AT_ONCE))
        )
    assert {answer.status_code for answer in answers} == {httpx.codes.SERVICE_UNAVAILABLE}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert max(answer.elapsed.total_seconds() for answer in answers) <= within
