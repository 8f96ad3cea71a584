"""SIGKILL: what an upstream saw is on record, ran once, and is shown as unknown where nobody knows its end."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.conftest import Evil, evil_upstream
from tests.faults.histories import History, join, record, tell
from tests.harness.hub import Hub
from tests.harness.installs import INSTALLS, Install
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.waiting import until
from tests.soak.kills import LIMITS, RECONCILE, killed

KILLS = 4
CALLS = 400


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.requirement("A2", "A7", "F24", "F25")
@pytest.mark.parametrize("install", INSTALLS)
async def test_f24_killed_hub_has_recorded_every_call_that_an_upstream_saw(install: Install, tmp_path: Path):
    found = await killed(install, tmp_path, KILLS, CALLS)
    assert found.faults == (), found


@pytest.fixture
def evil(tmp_path: Path) -> Iterator[Evil]:
    """A hub that takes a process for dead after a second without a sign of life."""
    with evil_upstream(tmp_path, "both") as (servers, truth), Hub(tmp_path / "hub", limits=LIMITS) as hub:
        yield Evil(hub.up("--config", str(servers)).until_listed("evil"), truth)


@pytest.mark.requirement("F24")
@pytest.mark.parametrize("era", ERAS)
async def test_f24_call_under_way_at_the_kill_is_listed_as_unknown(evil: Evil, era: Era):
    async with raw_client(evil.hub.mcp_url, evil.hub.key, era) as client:
        calling = asyncio.create_task(tell(client, "evil__act", do="hang", nonce="under way"))
        await asyncio.to_thread(until, "the call at the upstream", lambda: evil.truth.arrived()["under way"])
        evil.hub.kill()
        await asyncio.wait({calling})
    assert calling.exception() is not None
    history = await asyncio.to_thread(_after_restart, evil, "under way")
    assert (history.arrived, history.outcome) == (1, "unknown")


@pytest.mark.requirement("F25")
@pytest.mark.parametrize("era", ERAS)
async def test_f25_outcome_that_died_with_its_process_is_listed_as_unknown(evil: Evil, era: Era):
    async with raw_client(evil.hub.mcp_url, evil.hub.key, era) as client:
        calling = asyncio.create_task(tell(client, "evil__act", do="echo", text="hello", nonce="queued", pause=0.5))
        await asyncio.to_thread(until, "the call at the upstream", lambda: evil.truth.arrived()["queued"])
        with closing(sqlite3.connect(evil.hub.database, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            assert (await calling).text == "hello"
            evil.hub.kill()
    history = await asyncio.to_thread(_after_restart, evil, "queued")
    assert (history.ran, len(history.intents), history.outcome) == (1, 1, "unknown")


def _after_restart(evil: Evil, nonce: str) -> History:
    """What is known of a call once the hub runs again and its worker has done what it does each minute."""
    evil.hub.restart()
    evil.hub.manage("shell", "--no-imports", "--command", RECONCILE)
    return join((), evil.truth, record(evil.hub))[nonce]
