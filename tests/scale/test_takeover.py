"""The process that holds a connection dies: its calls end honestly, and another process goes on."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.gateway.test_edge_resuming import resumed
from tests.harness.clients import python_client
from tests.harness.processes import alive, until_gone
from tests.harness.waiting import until
from tests.scale.by_hand import gate_of, moved, session_at, told_first
from tests.scale.conftest import Pair, recovered, running_pair, text_of


@pytest.mark.requirement("X6")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("lease_s", "strangers"), [(3, True), (600, False)], ids=["after its lease", "at once on the same machine"]
)
async def test_killed_owner_leaves_open_calls_unknown_and_the_other_process_takes_over(
    tmp_path: Path, lease_s: int, strangers: bool
) -> None:
    with running_pair(tmp_path, lease_s=lease_s, strangers=strangers) as pair:
        owner, other = pair.owner()
        async with python_client(other.mcp_url, other.key, "2026-07-28") as client:
            assert text_of(await client.call_tool("counting__tally", {})) == "1"
            waiting = asyncio.create_task(client.call_tool("counting__wait", {"seconds": 60}))
            await asyncio.to_thread(until, "the wait's beginning", lambda: "began" in pair.marks())
            child = pair.starts()[-1]
            os.kill(owner.process.pid, signal.SIGKILL)
            lost = await waiting
            assert lost.is_error
            assert lost.meta["mcphub/error"]["reason"] == "lost"
            assert lost.meta["mcphub/error"]["outcome"] == "unknown"
            assert await recovered(client) == "1"
        until_gone({child})
        assert len([pid for pid in pair.starts() if alive(pid)]) == 1


@pytest.mark.requirement("X6")
@pytest.mark.timeout(120)
async def test_an_owner_that_only_sleeps_is_not_robbed(tmp_path: Path) -> None:
    with running_pair(tmp_path, lease_s=600) as pair:
        owner, other = pair.owner()
        async with python_client(other.mcp_url, other.key, "2026-07-28") as client:
            assert text_of(await client.call_tool("counting__tally", {})) == "1"
            owner.process.send(signal.SIGSTOP)
            try:
                refused = await client.call_tool("counting__tally", {})
            finally:
                owner.process.send(signal.SIGCONT)
            assert refused.meta["mcphub/error"]["outcome"] == "not_sent"
            assert await recovered(client) == "2"
        assert len(pair.starts()) == 1


@pytest.mark.requirement("P15", "X6")
@pytest.mark.timeout(120)
async def test_the_streams_of_a_killed_process_end_and_begin_anew(tmp_path: Path) -> None:
    with running_pair(tmp_path) as pair:
        await streams_of_the_first_end(pair)


async def streams_of_the_first_end(pair: Pair) -> None:
    doomed, other = pair.hubs
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        session = await session_at(http, doomed)
        away = moved(session, other)
        async with http.stream("GET", session.path, headers=session.headers):
            with gate_of(pair) as gate:
                async with told_first(session, gate) as last, resumed(away, last) as stream:
                    os.kill(doomed.process.pid, signal.SIGKILL)
                    assert await stream.rest() == []
                async with resumed(away, last, 404):
                    pass
        async with http.stream("GET", away.path, headers=away.headers) as news:
            assert news.status_code == 200
