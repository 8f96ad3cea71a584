"""A PostgreSQL that is gone, hangs, or takes no writes: nothing is open, nothing runs unrecorded, it comes back."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, LiteralString

import httpx
import pytest

from tests.faults.storage import AT_ONCE, Outage, Stored, expect_503, stored
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.services import PostgreSQL
from tests.harness.waiting import until

REFUSED_S: Final = 2
STALE_S: Final = 10
SLOW: Final[Sequence[LiteralString]] = (
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END'",
    "CREATE TRIGGER slow BEFORE INSERT ON audit_auditevent FOR EACH STATEMENT EXECUTE FUNCTION slow()",
)
QUICK: Final[Sequence[LiteralString]] = ("DROP TRIGGER slow ON audit_auditevent", "DROP FUNCTION slow")
QUEUE_ROWS: Final = 60
CUT_SESSIONS: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with stored(
        "serve-postgresql", tmp_path_factory.mktemp("down"), limits=f"key_attempts=1000,audit_queue_rows={QUEUE_ROWS}"
    ) as hub:
        yield hub


@pytest.fixture
def postgresql(at: Stored) -> PostgreSQL:
    assert at.postgresql is not None
    return at.postgresql


@pytest.mark.requirement("F27", "A2")
@pytest.mark.parametrize("era", ERAS)
async def test_f27_stopped_database_refuses_everything_in_time_and_comes_back(
    at: Stored, postgresql: PostgreSQL, era: Era
):
    outage = Outage(at)
    async with raw_client(at.hub.mcp_url, at.hub.key, era) as client:
        postgresql.stop()
        assert await outage.expect_refused(client, REFUSED_S) == {"audit_unavailable"}
        await expect_503(at.hub, REFUSED_S)
        await expect_503(at.hub, REFUSED_S, key="mcph-nobody-has-this")
        _until_stale(at)
        assert await outage.expect_refused(client, REFUSED_S) == {"storage_unavailable"}
        assert "database" in _missing(at)
        assert httpx.get(f"{at.hub.url}/live").status_code == httpx.codes.OK
        postgresql.start()
    outage.expect_back()


@pytest.mark.requirement("F27")
async def test_f27_hanging_database_refuses_everything_in_time_and_comes_back(at: Stored, postgresql: PostgreSQL):
    outage = Outage(at)
    async with raw_client(at.hub.mcp_url, at.hub.key, "handshake") as client:
        with postgresql.frozen():
            assert await outage.expect_refused(client, REFUSED_S) == {"audit_unavailable"}
            await expect_503(at.hub, REFUSED_S)
            _until_stale(at)
            assert await outage.expect_refused(client, REFUSED_S) == {"storage_unavailable"}
            assert httpx.get(f"{at.hub.url}/live").status_code == httpx.codes.OK
    outage.expect_back()


@pytest.mark.requirement("F29")
@pytest.mark.parametrize("era", ERAS)
async def test_f29_read_only_database_makes_no_call_and_comes_back(at: Stored, postgresql: PostgreSQL, era: Era):
    outage = Outage(at)
    async with raw_client(at.hub.mcp_url, at.hub.key, era) as client:
        postgresql.execute("ALTER DATABASE hub SET default_transaction_read_only = on", CUT_SESSIONS)
        assert await outage.expect_refused(client, REFUSED_S) == {"audit_unavailable"}
        postgresql.execute("SET default_transaction_read_only = off", "ALTER DATABASE hub RESET ALL", CUT_SESSIONS)
    outage.expect_back()


@pytest.mark.requirement("F30")
@pytest.mark.parametrize("era", ERAS)
async def test_f30_slow_store_fills_a_bounded_queue_then_refuses_while_the_loop_answers(
    at: Stored, postgresql: PostgreSQL, era: Era
):
    outage = Outage(at)
    async with raw_client(at.hub.mcp_url, at.hub.key, era) as client, httpx.AsyncClient(trust_env=False) as probe:
        postgresql.execute(*SLOW)
        calling = asyncio.create_task(outage.crowd(client, 4 * QUEUE_ROWS))
        answers = 0
        while not calling.done():
            answers += (await probe.get(f"{at.hub.url}/live")).status_code == httpx.codes.OK
        assert answers > 1
        made, refused = await calling
        assert 0 < made <= QUEUE_ROWS + 2 * AT_ONCE
        assert refused >= QUEUE_ROWS
        postgresql.execute(*QUICK)
    outage.expect_back()


def _until_stale(at: Stored) -> None:
    """The hub does not go on by what it knew before."""
    until("the end of trust in the snapshot", lambda: "snapshot" in _missing(at), STALE_S)


def _missing(at: Stored) -> dict[str, str]:
    return dict(httpx.get(f"{at.hub.url}/ready").json().get("parts", {}))
