"""SIGTERM: what is under way is answered, what comes after is told to come again, nothing is left behind (F23)."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import evil_upstream
from tests.faults.histories import tell
from tests.harness.installs import INSTALLS, Install, installed
from tests.harness.raw import ERAS, RawClient, raw_client
from tests.harness.waiting import until
from tests.soak.callers import TOOL
from tests.soak.drains import drained

TERMS = 2
DRAINING = -31020


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.requirement("X5", "F23")
@pytest.mark.parametrize("install", INSTALLS)
async def test_f23_hub_that_is_ended_under_load_loses_no_answer(install: Install, tmp_path: Path):
    found = await drained(install, tmp_path, TERMS)
    assert found.faults == (), found


@pytest.mark.requirement("X5", "F23")
@pytest.mark.parametrize("install", INSTALLS)
async def test_f23_calls_under_way_end_and_new_ones_are_told_to_come_again(install: Install, tmp_path: Path):
    with (
        evil_upstream(tmp_path, "both") as (servers, truth),
        installed(install, tmp_path / "hub", servers) as (hub, _),
    ):
        await asyncio.to_thread(hub.until_listed, "evil")
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(raw_client(hub.mcp_url, hub.key, era)) for era in ERAS]
            calls = [asyncio.create_task(tell(each, TOOL, do="echo", text="done", pause=6)) for each in clients]
            await asyncio.to_thread(until, "calls under way", lambda: truth.arrived().total() == len(calls))
            hub.process.send(signal.SIGTERM)
            for client in clients:
                await _expect_refused(client)
            assert not any(call.done() for call in calls)
            assert [(await call).text for call in calls] == ["done"] * len(calls)
        assert await asyncio.to_thread(hub.process.wait) == 0


async def _expect_refused(client: RawClient) -> None:
    """Once the signal has arrived, a call is refused with the word to come again."""
    late = {"name": TOOL, "arguments": {"do": "echo"}}
    while (answer := await client.send("tools/call", late)).status_code == httpx.codes.OK:
        continue
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"] == DRAINING
    assert answer.json()["error"]["data"]["mcphub/error"]["outcome"] == "not_sent"
