"""Sessions as records: found by any process, ended for all, forgotten in time."""

import asyncio
import tracemalloc
from datetime import timedelta

import pytest
from django.db import connection

from gateway.edge.paths import parse
from gateway.models import Session
from gateway.sessions import LiveSession, Sessions
from gateway.types import Unavailable
from mcphub.core import aio, clock
from mcphub.core.limits import Limits
from mcphub.core.principal import Principal
from tests.gateway.tiny_core import PEOPLE
from upstreams.types import ClientFacts

pytestmark = pytest.mark.django_db(transaction=True)

ALICE, BOB, ELSEWHERE = PEOPLE["alice-key"], PEOPLE["bob-key"], PEOPLE["alice-elsewhere"]
ROUTE, OTHER_ROUTE = parse("/mcp"), parse("/mcp/default")
assert ROUTE is not None
assert OTHER_ROUTE is not None
CLIENT = ClientFacts({"roots": {}, "z": 1, "a": 1.5}, {"name": "c\u0000ä", "version": "1"}, era="handshake")


async def opened(sessions: Sessions, principal: Principal = ALICE) -> LiveSession:
    session = sessions.draft(principal, ROUTE, "2025-06-18", CLIENT)
    await sessions.keep(session)
    return session


def worker(**limits: float) -> Sessions:
    return Sessions(Limits(**limits))


async def age(seconds: float) -> None:
    """Let every session have been idle for so long."""
    then = clock.now() - timedelta(seconds=seconds)
    await aio.in_thread(Session.objects.update, active_at=then)


@pytest.mark.requirement("P6")
async def test_another_worker_finds_what_the_client_declared() -> None:
    session = await opened(worker())
    found = await worker().recall(session.sealed, ALICE, ROUTE)
    assert found is not None
    assert found.ref == session.ref


@pytest.mark.requirement("P6", "X6")
async def test_requests_that_meet_at_another_worker_find_one_session() -> None:
    session, there = await opened(worker()), worker()
    found = await asyncio.gather(*(there.recall(session.sealed, ALICE, ROUTE) for _ in range(5)))
    assert found[0] is not None
    assert all(one is found[0] for one in found)


@pytest.mark.requirement("P6")
async def test_only_its_principal_and_route_find_a_session() -> None:
    home, elsewhere = worker(), worker()
    sealed = (await opened(home)).sealed
    for principal, route in ((BOB, ROUTE), (ELSEWHERE, ROUTE), (ALICE, OTHER_ROUTE)):
        assert home.find(sealed, principal, route) is None
        assert await elsewhere.recall(sealed, principal, route) is None
    for forged in ("", "x", sealed[:-1], sealed[1:], sealed.swapcase(), "ä" * 80):
        assert await elsewhere.recall(forged, ALICE, ROUTE) is None


async def test_an_altered_row_is_no_session() -> None:
    session = await opened(worker())
    await aio.in_thread(Session.objects.update, client='{"capabilities": {"sampling": {}}, "info": {}}')
    assert await worker().recall(session.sealed, ALICE, ROUTE) is None


async def test_an_end_reaches_other_workers_with_their_sweep() -> None:
    here, there = worker(), worker()
    session = await opened(here)
    assert await there.recall(session.sealed, ALICE, ROUTE) is not None
    heard: list[str] = []
    there.on_ended.append(heard.append)
    await here.end(session)
    assert here.find(session.sealed, ALICE, ROUTE) is None
    assert await here.recall(session.sealed, ALICE, ROUTE) is None
    await there.sweep()
    assert heard == [session.ref.id]
    assert there.find(session.sealed, ALICE, ROUTE) is None


async def test_the_end_of_a_session_that_left_the_memory_is_heard_once() -> None:
    here, there, heard = worker(sessions=1), worker(), []
    here.on_ended.append(heard.append)
    dropped = await opened(here)
    await opened(here)
    assert len(here) == 1
    again = await there.recall(dropped.sealed, ALICE, ROUTE)
    assert again is not None
    await there.end(again)
    await here.sweep()
    await here.sweep()
    assert heard == [dropped.ref.id]


async def test_ended_sessions_are_removed_soon() -> None:
    session = await opened(worker())
    await worker().end(session)
    await aio.in_thread(Session.objects.update, ended_at=clock.now() - timedelta(hours=1))
    await worker().sweep()
    assert await aio.in_thread(Session.objects.count) == 0


async def test_idle_sessions_end_after_their_hour() -> None:
    session = await opened(worker())
    await age(3599)
    assert await worker().recall(session.sealed, ALICE, ROUTE) is not None
    await age(3601)
    assert await worker().recall(session.sealed, ALICE, ROUTE) is None
    await worker().sweep()
    row = await aio.in_thread(Session.objects.get)
    assert row.ended_at is not None


async def test_activity_is_written_once_a_minute_and_keeps_a_session() -> None:
    here = worker(session_flush_s=0)
    session = await opened(here)
    await age(3500)
    here.find(session.sealed, ALICE, ROUTE)
    await here.sweep()
    row = await aio.in_thread(Session.objects.get)
    assert clock.now() - row.active_at < timedelta(seconds=60)
    assert row.ended_at is None
    await age(10)
    await here.sweep()
    row = await aio.in_thread(Session.objects.get)
    assert clock.now() - row.active_at > timedelta(seconds=5), "nothing happened since the last sweep"


async def test_sessions_that_ended_long_ago_are_deleted() -> None:
    here = worker()
    await here.end(await opened(here))
    then = clock.now() - timedelta(days=2)
    await aio.in_thread(Session.objects.update, ended_at=then)
    await here.sweep()
    assert await aio.in_thread(Session.objects.count) == 0


async def test_beyond_the_cap_the_longest_idle_leave_memory_and_come_back() -> None:
    here = worker(sessions=10)
    all_of_them = [await opened(here) for _ in range(15)]
    assert len(here) <= 10
    first = all_of_them[0]
    assert here.find(first.sealed, ALICE, ROUTE) is None
    assert await here.recall(first.sealed, ALICE, ROUTE) is not None


async def test_the_log_level_of_a_session_is_known_everywhere() -> None:
    here = worker()
    session = await opened(here)
    await here.set_log_level(session.ref.id, "warning")
    assert session.ref.client.log_level == "warning"
    found = await worker().recall(session.sealed, ALICE, ROUTE)
    assert found is not None
    assert found.ref.client.log_level == "warning"


async def test_without_storage_there_is_an_honest_error() -> None:
    here = worker()
    session = await opened(here)
    await aio.in_thread(rename, "gateway_session", "gateway_gone")
    try:
        with pytest.raises(Unavailable):
            await opened(here)
        with pytest.raises(Unavailable):
            await worker().recall(session.sealed, ALICE, ROUTE)
        assert here.find(session.sealed, ALICE, ROUTE) is session
        assert await worker().recall("A" * 75, ALICE, ROUTE) is None, "what is no id is not looked up"
    finally:
        await aio.in_thread(rename, "gateway_gone", "gateway_session")


def rename(old: str, new: str) -> None:
    with connection.schema_editor() as editor:
        editor.alter_db_table(Session, old, new)


@pytest.mark.requirement("P6")
async def test_f44_an_idle_session_costs_less_than_four_kilobytes() -> None:
    here = worker()
    here.draft(ALICE, ROUTE, "2025-06-18", CLIENT)
    tracemalloc.start()
    for n in range(500):
        facts = ClientFacts({"roots": {}, "sampling": {}, "n": n}, {"name": f"client {n}", "version": "1.0"})
        here._remember(here.draft(ALICE, ROUTE, "2025-06-18", facts))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / 500 < 4096
