"""A hub that is ended, politely or not, loses no answer that it can still give and no record of what it did."""

import asyncio
import json
import signal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.hub import Hub, servers_file
from tests.harness.processes import until_gone
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.upstreams import sdk_stdio
from tests.harness.waiting import until

KILLS = 10
CALLS = 1_000
AT_ONCE = 16


@pytest.mark.requirement("X5", "R1")
@pytest.mark.parametrize("era", ERAS)
async def test_call_under_way_is_answered_before_the_hub_ends(small_hub: Hub, era: Era):
    below = small_hub.children()
    assert below, "the stdio upstream is no child of the hub"
    async with raw_client(small_hub.mcp_url, small_hub.key, era) as client, httpx.AsyncClient() as probe:
        call = asyncio.create_task(client.call("sdk__wait", seconds=3))
        await _under_way(small_hub)
        small_hub.process.send(signal.SIGTERM)
        health = f"{small_hub.url}/healthz"
        while (seen := (await probe.get(health)).status_code) == httpx.codes.OK:
            assert not call.done()
        assert seen == httpx.codes.SERVICE_UNAVAILABLE
        assert not call.done()
        assert (await call)["content"][0]["text"] == "waited 3"
    assert await asyncio.to_thread(small_hub.process.wait) == 0
    until_gone(below)


async def _under_way(hub: Hub) -> None:
    """Until the call's intent is on record."""
    read = ("export_audit", "--format", "ndjson")
    await asyncio.to_thread(until, "the intent", lambda: '"intent"' in hub.manage(*read), 10)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.requirement("A2", "A7", "R1")
async def test_killed_hub_has_recorded_every_call_that_an_upstream_saw(hub: Hub, tmp_path: Path):
    marks = tmp_path / "marks"
    marks.touch()
    config = servers_file(tmp_path / "servers.json", {"sdk": sdk_stdio(marks)})
    hub.up("--config", str(config)).until_listed("sdk")
    for turn in range(KILLS):
        calls = asyncio.create_task(_call_until_cut(hub, turn))
        await asyncio.to_thread(until, "calls under way", partial(_has_marks, marks, turn), 60)
        hub.kill()
        await calls
        hub.restart().until_listed("sdk")
    seen = marks.read_text().split()
    recorded = _marks_on_record(hub)
    assert len(seen) > KILLS * 20
    assert [mark for mark in seen if mark not in recorded] == []
    assert len(seen) == len(set(seen)), "a call ran twice"
    hub.manage("verify_audit")


def _has_marks(marks: Path, turn: int) -> bool:
    """Later in each turn, so that the kills meet different states."""
    return sum(line.startswith(f"{turn}-") for line in marks.read_text().splitlines()) >= (turn + 1) * 20


async def _call_until_cut(hub: Hub, turn: int) -> None:
    """A thousand calls, sixteen at a time, until the hub is gone."""

    async def some(numbers: range) -> None:
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            for number in numbers:
                await client.call("sdk__mark", word=f"{turn}-{number}")

    await asyncio.gather(*(some(range(lane, CALLS, AT_ONCE)) for lane in range(AT_ONCE)), return_exceptions=True)


def _marks_on_record(hub: Hub) -> set[str]:
    events = [event for event in _events(hub) if event["kind"] == "intent" and event["name"] == "mark"]
    return {event["payload"]["word"] for event in events}


def _events(hub: Hub) -> list[dict[str, Any]]:
    return [json.loads(line) for line in hub.manage("export_audit", "--format", "ndjson").splitlines()]
