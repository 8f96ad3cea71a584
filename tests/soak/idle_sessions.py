"""Sessions that do nothing, thousands of them: what each costs, and what honest clients feel of it (F44)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.baseline import WatchedHub
from tests.faults.conftest import evil_upstream
from tests.harness.raw import HANDSHAKE
from tests.harness.wire import request
from tests.soak.finding import Finding
from tests.soak.honest import Honest

SESSION_KB: Final = 4
STREAM_KB: Final = 50
RATIO: Final = 2.0
ENOUGH: Final = 2_000
"""From so many sessions on their cost stands out of what else moves in a process."""

OF_A_SOURCE: Final = 1_000
"""Connections from one address of this machine; the hub counts them by address."""

LIMITS: Final = "sessions=40000,principal_sessions=40000,principal_streams=40000,streams=40000"
GREETING: Final = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": HANDSHAKE,
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "idle", "version": "1"},
    },
}


@dataclass(frozen=True, slots=True)
class Idle:
    """What was measured; memory is that of the hub's processes, in KB each. `faults` contradict the promises."""

    session_kb: float
    stream_kb: float
    before_ms: float
    meanwhile_ms: float
    honest_calls: int
    faults: tuple[str, ...]


async def idled(hub: WatchedHub, *, sessions: int, streams: int, seconds: float) -> Idle:
    """Open `sessions` idle sessions, and the streams of `streams` of them; keep them for `seconds` at least."""
    measuring = sessions >= ENOUGH
    async with Honest(hub.mcp_url, hub.key) as honest:
        await honest.answered(20)
        before_ms = await honest.p99_ms() if measuring else 0.0
        empty_kb = _memory_kb(hub)
        ids = await _opened(hub, sessions)
        held_kb = _memory_kb(hub)
        async with _listening(hub, ids[:streams]):
            await asyncio.sleep(seconds)
            full_kb = _memory_kb(hub)
            meanwhile_ms = await honest.p99_ms() if measuring else 0.0
        await honest.answered(20)
        session_kb, stream_kb = (held_kb - empty_kb) / sessions, (full_kb - held_kb) / max(1, streams)
        faults = list(honest.failures)
        if measuring:
            faults += [f"{session_kb:.1f} KB a session"] * (session_kb > SESSION_KB)
            faults += [f"{stream_kb:.1f} KB a stream"] * (stream_kb > STREAM_KB)
            faults += [f"p99 {meanwhile_ms:.1f} ms, {before_ms:.1f} without"] * (meanwhile_ms > RATIO * before_ms)
        await _ended(hub, ids if not measuring else [])
    return Idle(session_kb, stream_kb, before_ms, meanwhile_ms, len(honest.waits_s), tuple(faults))


async def idle_sessions(folder: Path, sessions: int) -> Finding:
    """The whole proof: a hub of its own, `sessions` idle sessions, each with its stream."""
    with evil_upstream(folder, "both") as (servers, _), WatchedHub(folder / "hub", key=None, limits=LIMITS) as hub:
        hub.prepare(servers)
        hub.serve().until_listed("evil")
        found = await idled(hub, sessions=sessions, streams=sessions, seconds=20)
    return Finding(
        f"{sessions} idle sessions, each with an open stream",
        f"{found.session_kb:.1f} KB a session, {found.stream_kb:.1f} KB more with a stream; honest p99 "
        f"{found.before_ms:.1f} ms before, {found.meanwhile_ms:.1f} ms meanwhile",
        found.faults,
    )


def _memory_kb(hub: WatchedHub) -> int:
    return sum(int(hub.ask(pid)["memory_kb"]) for pid in hub.pids())


async def _opened(hub: WatchedHub, count: int) -> list[str]:
    """New sessions, made over a few connections, which then close."""
    share = [count // 8 + (number < count % 8) for number in range(8)]
    return [id_ for ids in await asyncio.gather(*(_some(hub, each) for each in share)) for id_ in ids]


async def _some(hub: WatchedHub, count: int) -> list[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    sent = request("POST /mcp HTTP/1.1", json.dumps(GREETING).encode(), _headers(hub))
    found = []
    for _ in range(count):
        writer.write(sent)
        headers = await _answer(reader)
        found.append(headers["mcp-session-id"])
    writer.close()
    return found


async def _answer(reader: asyncio.StreamReader) -> dict[str, str]:
    """The headers of a whole answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.split("\r\n")
    assert " 20" in status, head
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    await reader.readexactly(int(headers.get("content-length", 0)))
    return headers


@asynccontextmanager
async def _listening(hub: WatchedHub, ids: list[str]) -> AsyncIterator[None]:
    """The GET stream of each session, all open at once."""
    writers = []
    for number, id_ in enumerate(ids):
        source = f"127.0.1.{number // OF_A_SOURCE + 1}"
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port, limit=4096, local_addr=(source, 0))
        more = {"Accept": "text/event-stream", "Mcp-Session-Id": id_, "MCP-Protocol-Version": HANDSHAKE}
        writer.write(request("GET /mcp HTTP/1.1", b"", _headers(hub) | more, length=False))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writers.append(writer)
    try:
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


async def _ended(hub: WatchedHub, ids: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    for id_ in ids:
        more = {"Mcp-Session-Id": id_, "MCP-Protocol-Version": HANDSHAKE}
        writer.write(request("DELETE /mcp HTTP/1.1", b"", _headers(hub) | more, length=False))
        await _answer(reader)
    writer.close()


def _headers(hub: WatchedHub) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {hub.key}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
    }
