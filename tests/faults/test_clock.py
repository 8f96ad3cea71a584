"""A clock that is put forward or back by five minutes: calls, sessions, streams and keys stay as they are (F36)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import evil_upstream
from tests.faults.histories import Told, faults, joined, record, tell
from tests.faults.truth import Truth
from tests.harness.clocks import Clock
from tests.harness.hub import Hub
from tests.harness.raw import ERAS, RawClient, raw_client
from tests.harness.waiting import until
from tests.soak.kills import RECONCILE

JUMP_S = 300
TRUE_S = 60
MINUTES_3 = 3 / 24 / 60


@dataclass(frozen=True, slots=True)
class Timed:
    """A hub with an upstream, and the clock that the hub goes by."""

    hub: Hub
    truth: Truth
    clock: Clock

    async def jump(self, seconds: int) -> None:
        """Put the clock forward or back, and wait until the hub goes by it."""
        self.clock.set(seconds)
        async with asyncio.timeout(20), raw_client(self.hub.mcp_url, self.hub.key, "modern") as client:
            while not any(abs(event["at"] / 1e6 - time.time() - seconds) < TRUE_S for event in record(self.hub)):
                await tell(client, "evil__act", do="echo")


@pytest.fixture
def timed(tmp_path: Path) -> Iterator[Timed]:
    clock = Clock(tmp_path / "clock")
    with evil_upstream(tmp_path, "both") as (servers, truth), Hub(tmp_path / "hub") as hub:
        hub.environment.update(clock.environment)
        yield Timed(hub.up("--config", str(servers)).until_listed("evil"), truth, clock)


@asynccontextmanager
async def everybody(hub: Hub) -> AsyncIterator[tuple[list[RawClient], list[httpx.Response]]]:
    """A client of each era, and each one's stream of news, open."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_client(hub.mcp_url, hub.key, era)) for era in ERAS]
        yield clients, [await stack.enter_async_context(client.news()) for client in clients]


@pytest.mark.requirement("F36", "A7")
@pytest.mark.parametrize("jump", [JUMP_S, -JUMP_S], ids=["F36-forward", "F36-back"])
async def test_jump_of_the_clock_changes_nothing_for_calls_sessions_and_streams(timed: Timed, jump: int):
    async with everybody(timed.hub) as (clients, streams):
        reading = [asyncio.create_task(stream.aread()) for stream in streams]
        calls = [asyncio.create_task(tell(client, "evil__act", do="echo", text="hi", pause=8)) for client in clients]
        await asyncio.to_thread(until, "calls under way", lambda: timed.truth.arrived().total() >= len(calls))
        line = _line(timed.hub)
        await timed.jump(jump)
        _live(line)
        await asyncio.to_thread(timed.hub.manage, "shell", "--no-imports", "--command", RECONCILE)
        told: list[Told] = [await call for call in calls]
        told += [await tell(client, "evil__act", do="echo", text="hi") for client in clients for _ in range(3)]
        assert [each.text for each in told] == ["hi"] * len(told)
        assert not any(task.done() for task in reading), "a stream ended"
    histories = joined(timed.hub, timed.truth, told)
    assert faults(histories) == []
    durations = [event["latency_us"] for event in record(timed.hub)]
    assert min(durations) >= 0
    assert max(durations) < TRUE_S * 1_000_000
    assert json.loads(timed.hub.manage("verify_audit", "--json"))["ok"]


@pytest.mark.requirement("F36", "S3")
async def test_f36_key_ends_by_the_clock_and_others_do_not(timed: Timed):
    soon = timed.hub.manage_json("create_key", "soon", "--role", "owner", "--expires-days", str(MINUTES_3))["key"]
    never = timed.hub.key
    assert [await _status(timed.hub, key) for key in (soon, never)] == [200, 200]
    await timed.jump(JUMP_S)
    assert [await _status(timed.hub, key) for key in (soon, never)] == [401, 200]
    await timed.jump(-JUMP_S)
    assert [await _status(timed.hub, key) for key in (soon, never)] == [200, 200]


@pytest.mark.requirement("F36", "F24")
async def test_f36_calls_of_a_dead_process_are_closed_although_its_last_sign_of_life_lies_ahead(timed: Timed):
    async with raw_client(timed.hub.mcp_url, timed.hub.key, "modern") as client:
        calling = asyncio.create_task(tell(client, "evil__act", do="hang", nonce="lost"))
        await asyncio.to_thread(until, "the call at the upstream", lambda: timed.truth.arrived()["lost"])
        timed.hub.kill()
        await asyncio.wait({calling})
    assert calling.exception() is not None
    timed.clock.set(-JUMP_S)
    await asyncio.to_thread(timed.hub.restart)
    timed.hub.manage("shell", "--no-imports", "--command", RECONCILE)
    assert [each.outcome for each in joined(timed.hub, timed.truth, ()).values()] == ["unknown"]


def _line(hub: Hub) -> HTTPConnection:
    """An idle connection that is not opened again."""
    line = HTTPConnection("127.0.0.1", hub.port, timeout=20)
    _live(line)
    line.auto_open = 0
    return line


def _live(line: HTTPConnection) -> None:
    line.request("GET", "/live")
    answer = line.getresponse()
    answer.read()
    assert answer.status == 200


async def _status(hub: Hub, key: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as http:
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": GREETING}
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json, text/event-stream"}
        return (await http.post(hub.mcp_url, json=message, headers=headers)).status_code


GREETING = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
