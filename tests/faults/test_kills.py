"""SIGKILL: what an upstream saw is on record, ran once, and is shown as unknown where nobody knows its end (F24)."""

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest

from tests.faults.conftest import evil_upstream
from tests.faults.truth import Truth
from tests.harness.hub import Hub
from tests.harness.raw import raw_client
from tests.harness.waiting import until

KILLS = 10
CALLS = 1_000
AT_ONCE = 16


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.requirement("A2", "A7")
async def test_killed_hub_has_recorded_every_call_that_an_upstream_saw(tmp_path: Path):
    with evil_upstream(tmp_path, "both") as (config, truth), Hub(tmp_path / "hub") as hub:
        hub.up("--config", str(config)).until_listed("evil")
        for turn in range(KILLS):
            calls = asyncio.create_task(_call_until_cut(hub, turn))
            await asyncio.to_thread(until, "calls under way", partial(_under_way, truth, turn), 60)
            hub.kill()
            await calls
            hub.restart()
        seen = [arguments["text"] for arguments in truth.seen("echo")]
        recorded = _on_record(hub)
        assert [text for text in seen if text not in recorded] == []
        assert len(seen) == len(set(seen)), "a call ran twice"
        assert json.loads(hub.manage("verify_audit", "--json"))


def _under_way(truth: Truth, turn: int) -> bool:
    """Later with every turn, so that the kills meet different states."""
    return truth.times(f'"text": "{turn}-') > turn * CALLS // KILLS // 2


async def _call_until_cut(hub: Hub, turn: int) -> None:
    """A thousand calls, sixteen at a time, until the hub is gone."""

    async def some(numbers: range) -> None:
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            for number in numbers:
                await client.call("evil__act", do="echo", text=f"{turn}-{number}")

    await asyncio.gather(*(some(range(lane, CALLS, AT_ONCE)) for lane in range(AT_ONCE)), return_exceptions=True)


def _on_record(hub: Hub) -> set[str]:
    lines = hub.manage("export_audit", "--format", "ndjson", "--kind", "intent").splitlines()
    return {json.loads(line)["payload"].get("text") for line in lines}
