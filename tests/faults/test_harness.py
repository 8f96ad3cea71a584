"""The harness itself: what it must notice, it notices."""

from pathlib import Path

import pytest

from tests.faults.baseline import Baseline, WatchedHub
from tests.faults.conftest import evil_upstream
from tests.faults.histories import Told, faults, join, joined, record, tell
from tests.harness.raw import raw_client


async def test_three_histories_of_a_good_call_agree_and_leave_nothing_behind(tmp_path: Path):
    with evil_upstream(tmp_path, "both") as (config, truth), WatchedHub(tmp_path / "hub") as hub:
        hub.up("--config", str(config)).until_listed("evil")
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            await tell(client, "evil__act", do="echo", text="warm")
        baseline = Baseline(hub)
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            told = [await tell(client, "evil__act", do="echo", text="hello") for _ in range(20)]
            with pytest.raises(AssertionError, match="socket"):
                baseline.expect_return(within=0.2)
        histories = joined(hub, truth, told)
        assert {each.text for each in told} == {"hello"}
        assert faults(histories) == []
        assert {(each.arrived, each.ran, each.outcome) for each in histories.values()} == {(1, 1, "completed")}
        baseline.expect_return()
        assert faults(join(told, truth, [])), "calls without a record are faults"
        lie = [Told(each.nonce, "", {"call_id": "other"}, 0) for each in told]
        assert len(faults(join(lie, truth, record(hub)))) == len(told), (
            "a call id that the record does not know is one"
        )
