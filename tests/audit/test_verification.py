"""Tampering is named; what is done properly is not."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, models

from audit import chain
from audit.events import Kind, PayloadMode, Result
from audit.models import AuditEvent, AuditPayload, AuditTombstone, AuditWriter
from audit.services import Query, erase_payloads, prune, verify
from audit.writer import Writer
from mcphub.core.clock import now
from tests.audit.conftest import MakeEvent, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.requirement("A7")]

EVENT_COLUMNS = [field.name for field in AuditEvent._meta.concrete_fields]
WRITER_COLUMNS = [field.name for field in AuditWriter._meta.concrete_fields if field.name != "reconciled_seq"]
TOMBSTONE_COLUMNS = ["last_seq", "mac", "newest_at", "pruned_at", "signature", "key_id"]


@pytest.fixture
def recorded(writing: Writer, an_event: MakeEvent) -> list[int]:
    """Ids of five events, the first four with payloads, in chain order."""
    for number in range(4):
        record(writing, an_event(call_id=f"call-{number}", payload=b'{"city":"Oslo"}', details={"n": number}))
    record(writing, an_event(kind=Kind.OUTCOME, call_id="call-3", outcome=Result.COMPLETED))
    return list(AuditEvent.objects.order_by("id").values_list("id", flat=True))


def altered(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str) or value is None:
        return f"{value or ''}x"[-8:]
    return bytes(byte ^ 1 for byte in bytes(value)) or b"x"


def mutate(model: type[models.Model], pk: int, column: str) -> None:
    value = model.objects.values_list(column, flat=True).get(pk=pk)  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} SET {column} = %s WHERE {model._meta.pk.column} = %s",
            [altered(value), pk],
        )


def test_untouched_record_is_valid(recorded: list[int]) -> None:
    report = verify()
    assert report.ok
    assert (report.chains, report.rows, report.payloads) == (1, 5, 4)


@pytest.mark.requirement("A7")
@pytest.mark.parametrize("column", EVENT_COLUMNS)
def test_changed_column_names_the_row(recorded: list[int], column: str) -> None:
    mutate(AuditEvent, recorded[2] if column != "id" else recorded[4], column)
    fault = verify().faults[0]
    assert fault.row == (recorded[2] if column != "id" else recorded[4])


@pytest.mark.parametrize("column", ["salt", "body"])
def test_changed_payload_names_the_row(recorded: list[int], column: str) -> None:
    mutate(AuditPayload, recorded[1], column)
    assert [fault.row for fault in verify().faults] == [recorded[1]]


@pytest.mark.parametrize("column", WRITER_COLUMNS)
def test_changed_writer_is_named(recorded: list[int], column: str) -> None:
    writer = chain.writer_of(recorded[0])
    mutate(AuditWriter, writer, column)
    faults = verify().faults
    assert faults
    assert column == "id" or faults[0].writer == writer


@pytest.mark.parametrize("position", range(5))
def test_deleted_row_is_named_wherever_it_stood(recorded: list[int], position: int) -> None:
    AuditEvent.objects.filter(pk=recorded[position]).delete()
    assert [fault.row for fault in verify().faults] == [recorded[position]]


def test_rows_cut_from_the_end_are_named(recorded: list[int]) -> None:
    AuditEvent.objects.filter(pk__gte=recorded[2]).delete()
    assert [fault.row for fault in verify().faults] == [recorded[2]]


def test_record_put_back_to_an_earlier_state_shows_against_heads_kept_elsewhere(an_event: MakeEvent) -> None:
    Writer.record_sync(an_event())
    earlier = AuditWriter.objects.values().get()
    Writer.record_sync(an_event())
    kept = verify().heads
    Writer.record_sync(an_event())
    assert verify(kept).ok
    AuditEvent.objects.filter(pk__gt=chain.row_id(earlier["id"], 1)).delete()
    AuditWriter.objects.filter(pk=earlier["id"]).update(**earlier)
    assert verify().ok
    assert [fault.row for fault in verify(kept).faults] == [chain.row_id(earlier["id"], 2)]


def test_swapped_rows_are_named(recorded: list[int]) -> None:
    first, second = AuditEvent.objects.values("name", "call_id", "mac").filter(pk__in=recorded[1:3]).order_by("id")
    AuditEvent.objects.filter(pk=recorded[1]).update(**second)
    AuditEvent.objects.filter(pk=recorded[2]).update(**first)
    assert verify().faults[0].row == recorded[1]


def test_row_of_no_writer_is_named(recorded: list[int]) -> None:
    AuditWriter.objects.all().delete()
    assert [fault.row for fault in verify().faults] == [recorded[0]]


def test_removed_writer_is_noticed(recorded: list[int], an_event: MakeEvent) -> None:
    Writer.record_sync(an_event(org_id="org-2"))
    AuditEvent.objects.filter(pk__in=recorded).delete()
    AuditWriter.objects.order_by("id").first().delete()  # type: ignore[union-attr]
    assert not verify().ok


def test_erased_payloads_leave_a_valid_record(recorded: list[int]) -> None:
    assert erase_payloads(Query(principal_id="user:anna"), by="a test") == 4
    report = verify()
    assert report.ok
    assert (report.rows, report.payloads) == (6, 1)


@pytest.mark.requirement("A6")
def test_pruned_rows_leave_a_tombstone_and_a_valid_record(recorded: list[int], writing: Writer) -> None:
    middle = AuditEvent.objects.get(pk=recorded[3]).when
    assert prune(middle) == 3
    report = verify()
    assert report.ok
    assert report.pruned == 3
    assert AuditPayload.objects.filter(pk__lt=recorded[3]).count() == 0
    assert prune(now() + timedelta(hours=1)) == 3
    assert verify().ok


@pytest.mark.parametrize("column", TOMBSTONE_COLUMNS)
def test_changed_tombstone_is_named(recorded: list[int], column: str) -> None:
    prune(AuditEvent.objects.get(pk=recorded[3]).when)
    mutate(AuditTombstone, chain.writer_of(recorded[0]), column)
    assert not verify().ok


def test_removed_tombstone_is_noticed(recorded: list[int]) -> None:
    prune(AuditEvent.objects.get(pk=recorded[3]).when)
    AuditTombstone.objects.all().delete()
    assert verify().faults[0].row == recorded[0]


def test_chain_goes_on_behind_a_fully_pruned_one(recorded: list[int], writing: Writer, an_event: MakeEvent) -> None:
    prune(now() + timedelta(hours=1))
    record(writing, an_event(call_id="after"))
    report = verify()
    assert report.ok
    assert report.pruned == 5


@pytest.mark.requirement("A3")
@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        (PayloadMode.NONE, None),
        (PayloadMode.HASH, None),
        (PayloadMode.REDACTED, b'{"city":"Oslo","password":"[redacted]"}'),
        (PayloadMode.FULL, b'{"city":"Oslo","password":"hunter2"}'),
    ],
)
def test_payload_modes_keep_what_they_say(
    writing: Writer, an_event: MakeEvent, mode: PayloadMode, kept: bytes | None
) -> None:
    record(writing, an_event(payload=b'{"city":"Oslo","password":"hunter2"}', payload_mode=mode))
    stored = AuditPayload.objects.first()
    row = AuditEvent.objects.get()
    assert (bytes(stored.body) if stored else None) == kept
    assert bool(row.payload_digest) == (mode != PayloadMode.NONE)
