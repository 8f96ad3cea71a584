"""A hub that is ended, politely or not, loses no answer that it can still give and no record of what it did."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.harness.hub import Hub
from tests.harness.processes import until_gone
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.waiting import until


@pytest.mark.requirement("X5", "R1")
@pytest.mark.parametrize("era", ERAS)
async def test_call_under_way_is_answered_before_the_hub_ends(small_hub: Hub, tmp_path: Path, era: Era):
    below = small_hub.children()
    assert below, "the stdio upstream is no child of the hub"
    async with raw_client(small_hub.mcp_url, small_hub.key, era) as client, httpx.AsyncClient() as probe:
        call = asyncio.create_task(client.call("sdk__wait", seconds=3))
        await asyncio.to_thread(until, "the beginning of the call", (tmp_path / "marks").exists)
        small_hub.process.send(signal.SIGTERM)
        health = f"{small_hub.url}/healthz"
        while (seen := (await probe.get(health)).status_code) == httpx.codes.OK:
            assert not call.done()
        assert seen == httpx.codes.SERVICE_UNAVAILABLE
        assert not call.done()
        assert (await call)["content"][0]["text"] == "waited 3"
    assert await asyncio.to_thread(small_hub.process.wait) == 0
    until_gone(below)


@pytest.mark.requirement("R1")
def test_killed_hub_leaves_no_child_behind(small_hub: Hub):
    below = small_hub.children()
    assert below, "the stdio upstream is no child of the hub"
    small_hub.kill()
    until_gone(below)
