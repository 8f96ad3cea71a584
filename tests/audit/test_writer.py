"""What the writer makes durable, in which order, and when it refuses."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from audit.events import AuditUnavailable, Kind, Result
from audit.models import AuditEvent, AuditPayload
from audit.rows import Row
from audit.services import record_act, record_sign_in, verify
from audit.stores import Head, SqliteStore, Store, StoreFault, store_for
from audit.writer import Writer, writer
from mcphub.core.limits import Limits
from mcphub.core.principal import OrgRef, Principal
from tests.audit.conftest import MakeEvent, record

pytestmark = pytest.mark.django_db(transaction=True)


class Faulty:
    """A store that, when told, loses its connection before the commit or after it, or waits for `go`."""

    wait_s: ClassVar[float] = 0.5

    def __init__(self, real: Store) -> None:
        self.real = real
        self.before: list[str] = []
        self.go = threading.Event()

    def head(self, writer_id: int) -> tuple[int, bytes] | None:
        return self.real.head(writer_id)

    def append(self, events: Sequence[Row], payloads: Sequence[Row], head: Head, patience_s: float) -> None:
        fate = self.before.pop(0) if self.before and events else ""
        if fate == "slow":
            self.go.wait()
        if fate == "lost":
            raise StoreFault("the connection was lost")
        self.real.append(events, payloads, head, patience_s)
        if fate == "committed":
            raise StoreFault("the connection was lost during COMMIT")

    def close(self) -> None:
        self.real.close()


@pytest.fixture
def faulty() -> Any:
    store = Faulty(store_for(connection.vendor, fsync=False))
    writer = Writer(store, settings.HUB.limits)
    yield store, writer
    writer.stop()


@pytest.mark.requirement("A2")
def test_recorded_event_is_durable_when_the_call_returns(writing: Writer, an_event: MakeEvent) -> None:
    record(writing, an_event(payload=b'{"city":"Oslo"}'))
    assert AuditEvent.objects.get().call_id == "call-1"
    assert bytes(AuditPayload.objects.get().body) == b'{"city":"Oslo"}'


@pytest.mark.requirement("A1")
def test_every_field_arrives(writing: Writer, an_event: MakeEvent) -> None:
    event = an_event(latency_us=5, request_bytes=7, result_bytes=9, outcome=Result.FAILED, details={"round": 2})
    record(writing, event)
    row = AuditEvent.objects.values().get()
    for name in event.__struct_fields__:
        if name not in {"payload", "details"}:
            assert row[name] == getattr(event, name)
    assert row["details"] == '{"round":2}'


def test_many_at_once_share_commits_and_one_chain(writing: Writer, an_event: MakeEvent) -> None:
    record(writing, *(an_event(call_id=str(number)) for number in range(1_000)))
    report = verify()
    assert report.ok
    assert (report.chains, report.rows) == (1, 1_000)


def test_outcomes_arrive_without_being_waited_for(writing: Writer, an_event: MakeEvent) -> None:
    for number in range(50):
        writing.record_soon(an_event(kind=Kind.OUTCOME, call_id=str(number)))
    assert writing.stop()
    assert AuditEvent.objects.count() == 50


def test_writer_starts_anew_after_a_stop_and_serves_several_loops(an_event: MakeEvent) -> None:
    first = writer()
    record(first, an_event())
    record(first, an_event())
    first.stop()
    assert writer() is not first
    record(writer(), an_event())
    writer().stop()
    assert verify().ok
    assert AuditEvent.objects.count() == 3


def test_stopped_writer_refuses(writing: Writer, an_event: MakeEvent) -> None:
    writing.stop()
    with pytest.raises(AuditUnavailable):
        record(writing, an_event())


def test_full_queue_refuses_at_once_and_drops_outcomes_with_a_count(an_event: MakeEvent) -> None:
    writer = Writer(store_for(connection.vendor, fsync=False), replace(Limits(), audit_queue_rows=0))
    with pytest.raises(AuditUnavailable):
        record(writer, an_event())
    writer.record_soon(an_event(kind=Kind.OUTCOME))
    assert (writer.refused, writer.dropped) == (1, 1)
    writer.stop()


def test_full_queue_still_takes_the_outcomes_of_what_it_let_in(
    faulty: tuple[Faulty, Writer], an_event: MakeEvent
) -> None:
    store, _ = faulty
    writer = Writer(store, replace(Limits(), audit_queue_rows=3))
    store.before = ["slow"]

    async def crowd() -> None:
        let_in = [writer.record(an_event()) for _ in range(3)]
        with pytest.raises(AuditUnavailable):
            await writer.record(an_event())
        for _ in range(4):
            writer.record_soon(an_event(kind=Kind.OUTCOME))
        store.go.set()
        await asyncio.gather(*let_in)

    asyncio.run(crowd())
    assert writer.stop()
    assert writer.dropped == 1
    assert AuditEvent.objects.count() == 6


def test_queue_is_bounded_in_bytes(an_event: MakeEvent) -> None:
    writer = Writer(store_for(connection.vendor, fsync=False), replace(Limits(), audit_queue_bytes=100_000))
    with pytest.raises(AuditUnavailable):
        record(writer, an_event(payload=b"x" * 100_000))
    record(writer, an_event(payload=b"x" * 10_000))
    writer.stop()


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "é" * 5_000, "\\u0000", "x" * 10_000_000])
def test_hostile_text_is_stored_and_verifies(writing: Writer, an_event: MakeEvent, name: str) -> None:
    record(writing, an_event(name=name, details={name[:50]: name[:50]}, payload=b'{"\\u0000":"\\u0000"}'))
    assert verify().ok
    assert len(AuditEvent.objects.get().name) <= 2_048


@pytest.mark.parametrize("bad", [{"at": 2**70}, {"name": None}, {"name": object()}])
def test_impossible_event_is_refused_and_hurts_no_other(
    writing: Writer, an_event: MakeEvent, bad: dict[str, Any]
) -> None:
    async def mixed() -> list[Any]:
        events = [an_event(call_id="good"), an_event(**bad), an_event(call_id="good too")]
        return await asyncio.gather(*map(writing.record, events), return_exceptions=True)

    first, second, third = asyncio.run(mixed())
    assert first is None
    assert isinstance(second, AuditUnavailable)
    assert third is None
    assert AuditEvent.objects.count() == 2
    assert verify().ok


def test_lost_connection_is_made_again(faulty: tuple[Faulty, Writer], an_event: MakeEvent) -> None:
    store, writer = faulty
    record(writer, an_event())
    store.before = ["lost", "lost"]
    record(writer, an_event(), an_event())
    assert AuditEvent.objects.count() == 3
    assert verify().ok


def test_commit_without_an_answer_is_not_repeated(faulty: tuple[Faulty, Writer], an_event: MakeEvent) -> None:
    store, writer = faulty
    store.before = ["committed"]
    record(writer, an_event(), an_event())
    record(writer, an_event())
    assert AuditEvent.objects.count() == 3
    assert verify().ok


def test_intent_that_lands_after_its_caller_was_refused_is_closed_as_not_sent(
    faulty: tuple[Faulty, Writer], an_event: MakeEvent
) -> None:
    store, writer = faulty
    store.before = ["slow"]

    async def refused() -> None:
        with pytest.raises(AuditUnavailable):
            await writer.record(an_event())
        store.go.set()
        while writer.queued[0]:
            await asyncio.sleep(0)

    asyncio.run(refused())
    writer.stop()
    assert [(row.kind, row.outcome) for row in AuditEvent.objects.order_by("id")] == [
        ("intent", ""),
        ("outcome", "not_sent"),
    ]


def test_stop_gives_up_in_time_and_counts_what_it_lost(faulty: tuple[Faulty, Writer], an_event: MakeEvent) -> None:
    store, writer = faulty
    store.before = ["lost"] * 100
    writer.record_soon(an_event(kind=Kind.OUTCOME))
    assert not writer.stop(timeout=0.3)
    assert writer.dropped == 1
    assert 1 <= 100 - len(store.before) < 20


def test_replaced_database_starts_a_new_chain(writing: Writer, an_event: MakeEvent) -> None:
    record(writing, an_event())
    with connection.cursor() as cursor:
        for table in ("audit_auditevent", "audit_auditwriter"):
            cursor.execute(f"DELETE FROM {table}")
    record(writing, an_event(call_id="after"))
    assert AuditEvent.objects.get().call_id == "after"
    assert verify().ok


def test_fork_gets_a_writer_of_its_own(an_event: MakeEvent) -> None:
    record(writer(), an_event())
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            record(writer(), an_event(call_id="child"))
            os._exit(0 if writer().stop() else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    record(writer(), an_event())
    writer().stop()
    report = verify()
    assert report.ok
    assert (report.chains, report.rows) == (2, 3)


@pytest.mark.requirement("A4")
def test_act_is_recorded_with_what_it_changed(an_event: MakeEvent) -> None:
    anna = Principal("user:1", "person", "anna@example.org", OrgRef("org-1", "default"), frozenset())
    record_act(
        org_id="org-1",
        org="default",
        principal=anna,
        action="upstream.change",
        target="time",
        before={"url": "a", "token": "hunter2"},
        after={"url": "b", "token": "hunter3"},
        source="192.0.2.1",
    )
    row, payload = AuditEvent.objects.get(), AuditPayload.objects.get()
    assert (row.kind, row.method, row.name, row.principal) == ("act", "upstream.change", "time", "anna@example.org")
    assert b"hunter" not in bytes(payload.body)
    assert b'"url":"b"' in bytes(payload.body)


@pytest.mark.requirement("A4")
def test_act_that_is_rolled_back_leaves_no_record() -> None:
    with transaction.atomic():
        record_act(org_id="o", org="o", principal="test", action="x.y", target="z")
        transaction.set_rollback(True)
    record_act(org_id="o", org="o", principal="test", action="x.y", target="z")
    assert AuditEvent.objects.count() == 1
    assert verify().ok


def test_failed_sign_in_is_recorded() -> None:
    record_sign_in(principal="eve@example.org", method="password", ok=False, reason="wrong password", source="::1")
    row = AuditEvent.objects.get()
    assert (row.kind, row.effect, row.reason, row.org_id) == ("sign-in", "deny", "wrong password", "")


def test_read_only_database_refuses_and_comes_back(an_event: MakeEvent, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("SQLite only")

    class Impatient(SqliteStore):
        wait_s: ClassVar[float] = 0.5

    writer = Writer(Impatient(fsync=True), settings.HUB.limits)
    name = connection.settings_dict["NAME"]
    sqlite3.connect(name).close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "NAME", f"file:{name}?mode=ro")
        with pytest.raises(AuditUnavailable):
            record(writer, an_event())
    record(writer, an_event(call_id="after"))
    writer.stop()
    assert AuditEvent.objects.get().call_id == "after"
    assert verify().ok
