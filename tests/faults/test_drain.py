"""SIGTERM: what is under way is answered, what comes after is told to come again, nothing is left behind (F23)."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import evil_upstream
from tests.faults.histories import tell
from tests.harness.installs import INSTALLS, Install, installed
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.waiting import until
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
@pytest.mark.parametrize("era", ERAS)
async def test_f23_call_under_way_ends_and_new_ones_are_told_to_come_again(
    install: Install, tmp_path: Path, era: Era
):
    with (
        evil_upstream(tmp_path, "both") as (servers, truth),
        installed(install, tmp_path / "hub", servers) as (hub, _),
    ):
        await asyncio.to_thread(hub.until_listed, "evil")
        async with raw_client(hub.mcp_url, hub.key, era) as client:
            call = asyncio.create_task(tell(client, "evil__act", do="echo", text="done", nonce="first", pause=2))
            await asyncio.to_thread(until, "the call at the upstream", lambda: truth.arrived()["first"])
            hub.process.send(signal.SIGTERM)
            late = {"name": "evil__act", "arguments": {"do": "echo", "nonce": "late"}}
            while (answer := await client.send("tools/call", late)).status_code == httpx.codes.OK:
                assert not call.done()
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["error"]["code"] == DRAINING
            assert answer.json()["error"]["data"]["mcphub/error"]["outcome"] == "not_sent"
            assert (await call).text == "done"
        assert await asyncio.to_thread(hub.process.wait) == 0
