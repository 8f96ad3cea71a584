"""Health, due work and patience with upstreams that come and go."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcphub.core.limits import Limits
from tests.faults.evil_upstream import EvilUpstream
from tests.harness.waiting import until
from tests.links.conftest import MemoryBook, spec, tool
from tests.links.test_stdio import odd
from upstreams import errors
from upstreams.backoff import Breaker
from upstreams.connections import Connections
from upstreams.discovery import read_catalogue
from upstreams.reports import DueWork
from upstreams.transports.refusals import HttpRefusal
from upstreams.types import Answer, Exchange, ServerFacts


class Going:
    """An upstream on a fixed port that can be stopped and started."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        upstream = EvilUpstream(self._log, handshake_only=True)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            await upstream.connected(reader, writer)

        self._server = await asyncio.start_server(serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


@pytest.fixture
async def going(tmp_path: Path) -> AsyncIterator[Going]:
    upstream = Going(tmp_path / "truth")
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest.mark.requirement("U17")
@pytest.mark.requirement("U18")
async def test_heartbeat_notices_that_an_upstream_left_and_came_back(
    hub: Connections, book: MemoryBook, going: Going
) -> None:
    hub.set_specs([spec(url=going.url, heartbeat_s=0.2)])
    await book.until(lambda: "u1" in book.listings)
    await going.stop()
    await book.until(lambda: book.reports["u1"].state == "down")
    assert book.reports["u1"].error
    await going.start()
    await book.until(lambda: book.reports["u1"].state == "up")


@pytest.mark.requirement("U17")
async def test_failed_call_shows_in_the_state_without_a_heartbeat(
    hub: Connections, book: MemoryBook, going: Going
) -> None:
    upstream = spec(url=going.url, heartbeat_s=0)
    hub.set_specs([upstream])
    await book.until(lambda: "u1" in book.listings)
    await going.stop()
    with pytest.raises(errors.UpstreamError):
        await hub.call(upstream, tool("act", {"do": "echo"}))
    await book.until(lambda: book.reports["u1"].state == "down")


@pytest.mark.requirement("U20")
async def test_dead_upstream_delays_nobody(hub: Connections, book: MemoryBook, going: Going) -> None:
    dead = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    silent = f"http://127.0.0.1:{dead.sockets[0].getsockname()[1]}/mcp"
    hub.set_specs([spec(id="dead", url=silent), spec(id="good", url=going.url)])
    await book.until(lambda: "good" in book.listings)
    assert "dead" not in book.reports or book.reports["dead"].state != "down"
    dead.close()


@pytest.mark.requirement("U13")
async def test_due_refresh_and_restart_are_done_once(hub: Connections, book: MemoryBook) -> None:
    upstream = odd()
    hub.set_specs([upstream])
    await book.until(lambda: "u1" in book.listings)
    first = json.loads((await hub.call(upstream, tool("echo"))).result)["pid"]

    book.listings.clear()
    book.work = DueWork({"u1": datetime.now(UTC)}, {})
    await book.until(lambda: "u1" in book.listings)
    assert json.loads((await hub.call(upstream, tool("echo"))).result)["pid"] == first

    book.history.clear()
    book.work = DueWork({}, {"u1": datetime.now(UTC)})
    await book.until(lambda: any(report.state == "up" for _, report in book.history))
    assert json.loads((await hub.call(upstream, tool("echo"))).result)["pid"] != first


async def test_call_with_an_old_snapshot_does_not_revive_a_removed_upstream(hub: Connections) -> None:
    hub.set_specs([odd()])
    hub.set_specs([])
    with pytest.raises(errors.Unreachable):
        await hub.call(odd(), tool("echo"))
    hub.set_specs([odd()])
    assert await hub.call(odd(), tool("echo"))


def test_pauses_grow_to_a_limit() -> None:
    breaker = Breaker(Limits(backoff_max_s=60))
    pauses = []
    for _ in range(12):
        breaker.failed(errors.Unreachable("away"))
        pauses.append(breaker.pause_s())
    assert pauses[0] <= 0.5
    assert all(30 <= pause <= 60 for pause in pauses[7:])


def test_failure_to_connect_was_not_sent() -> None:
    lost = errors.Lost("It ended.")
    lost.add_note("out of memory")
    made = lost.unsent()
    assert (made.reason, made.outcome, made.text) == ("unreachable", "not_sent", "It ended.")
    assert made.__notes__ == ["out of memory"]
    refused = HttpRefusal(503).unsent()
    assert (refused.reason, refused.outcome, refused.text) == ("upstream_error", "not_sent", HttpRefusal(503).text)


@pytest.mark.requirement("U18")
def test_breaker_lets_one_call_try_at_a_time() -> None:
    breaker = Breaker(Limits(breaker_failures=3, breaker_s=0.1))
    for _ in range(3):
        assert not breaker.tripped
        breaker.admit()
        breaker.failed(errors.UpstreamFailed("HTTP 500"))
    with pytest.raises(errors.BreakerOpen):
        breaker.admit()
    until("the end of the pause", lambda: _admits(breaker))
    with pytest.raises(errors.BreakerOpen):
        breaker.admit()
    breaker.undecided()
    breaker.admit()
    breaker.worked()
    assert not breaker.tripped
    breaker.admit()
    breaker.admit()


@pytest.mark.requirement("U18")
def test_trial_that_never_ends_makes_way_for_another() -> None:
    breaker = Breaker(Limits(breaker_failures=1, breaker_s=0.1))
    breaker.failed(errors.UpstreamFailed("HTTP 500"))
    until("the first trial", lambda: _admits(breaker))
    assert not _admits(breaker)
    until("another trial", lambda: _admits(breaker))


def _admits(breaker: Breaker) -> bool:
    try:
        breaker.admit()
    except errors.BreakerOpen:
        return False
    return True


class Pages:
    """Answers lists as a test says."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)

    async def __call__(self, exchange: Exchange) -> Answer:
        return Answer("modern", json.dumps(self._answers.pop(0)).encode())


TOOLS_ONLY = ServerFacts("modern", "2026-07-28", {"tools": {}})


@pytest.mark.requirement("U13")
async def test_all_pages_are_read_and_an_empty_cursor_is_one() -> None:
    pages = Pages({"tools": [{"name": "a"}], "nextCursor": ""}, {"tools": [{"name": "b"}]})
    assert await read_catalogue(pages, TOOLS_ONLY, Limits()) == {"tool": [{"name": "a"}, {"name": "b"}]}


async def test_endless_pages_end() -> None:
    endless = Pages(*({"tools": [{"name": str(n)}], "nextCursor": str(n)} for n in range(200)))
    with pytest.raises(errors.TooLarge):
        await read_catalogue(endless, TOOLS_ONLY, Limits())
