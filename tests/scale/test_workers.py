"""`serve --workers 2`: two processes on one socket; nobody chooses which one a connection meets."""

import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.gateway.test_edge_legacy import Old, old_client
from tests.harness.hub import Hub
from tests.harness.processes import age_s, alive, children, parent, until_gone
from tests.harness.raw import ask
from tests.harness.waiting import until
from tests.scale.conftest import Shared, shared
from tests.scale.crowd import KINDS, crowd, expect_each_once

WORKER = slice(16)
"""Where the id of a conversation names its process."""
CALLERS = 8
CALLS = 100


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Leases last longer than any test."""
    with shared(tmp_path_factory.mktemp("workers"), lease_s=600) as common:
        yield common


@pytest.fixture(scope="module")
def hub(common: Shared) -> Iterator[Hub]:
    with common.hub("hub") as hub:
        hub.serve("--workers", "2", wait=False)
        for _ in range(8):  # whichever worker answers
            common.until_serving(hub)
        yield hub


@pytest.mark.requirement("X6")
@pytest.mark.timeout(240)
async def test_mixed_calls_over_workers_of_one_socket(hub: Hub, common: Shared) -> None:
    seen = await crowd(hub.url, [hub.key], CALLERS, CALLS)
    assert seen.answers == {kind: CALLERS * CALLS * share // 100 for kind, share in KINDS.items()}
    expect_each_once(common, seen)


@pytest.mark.requirement("P16", "X6")
@pytest.mark.timeout(120)
async def test_messages_of_2024_find_their_worker(hub: Hub) -> None:
    limits = httpx.Limits(max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(base_url=hub.url, trust_env=False, timeout=20, limits=limits) as client,
        AsyncExitStack() as stack,
    ):
        streams: dict[str, Old] = {}
        for _ in range(50):
            old = await stack.enter_async_context(old_client(client, hub.key))
            streams[old.endpoint.partition("=")[2][WORKER]] = old
            if len(streams) == 2:
                break
        for old in streams.values():
            info = {"name": "old", "version": "1"}
            greeting = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": info}
            await old.ask("initialize", greeting)
            for number in range(20):
                echoed = await old.ask("tools/call", {"name": "counting__echo", "arguments": {"text": f"{number}"}})
                assert echoed["result"]["content"][0]["text"] == f"{number}"
    assert len(streams) == 2


@pytest.mark.requirement("X6", "N5")
@pytest.mark.timeout(120)
def test_what_a_killed_worker_held_is_taken_over_at_once_and_a_new_one_starts(hub: Hub, common: Shared) -> None:
    until("a proved start", lambda: age_s(hub.process.pid) > 7, 20)
    child = common.starts()[-1]
    owner = next(worker for worker in workers(hub) if child in children(worker))
    os.kill(owner, signal.SIGKILL)
    until("its end", lambda: not alive(owner))
    assert until("the next call's answer", lambda: tally(hub)) == "1"
    until_gone({child})
    assert until("the new worker", lambda: len(workers(hub)) == 2, 30)


def workers(hub: Hub) -> list[int]:
    """The two web processes; what runs below them is theirs."""
    return [pid for pid in hub.children() if hub.process.pid == parent(pid)]


def tally(hub: Hub) -> str:
    """The child's next number; "" while there is certainly none."""
    result: Any = ask(hub.mcp_url, hub.key, "tools/call", {"name": "counting__tally", "arguments": {}})
    if result.get("isError"):
        assert result["_meta"]["mcphub/error"]["outcome"] == "not_sent"
        return ""
    return str(result["content"][0]["text"])
