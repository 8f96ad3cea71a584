"""Reconciling, exporting, the commands and the flood of denials."""

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from audit import flood
from audit.events import Event, Kind, Result
from audit.flood import Denials
from audit.models import AuditEvent, AuditWriter
from audit.selectors import Place, call, older, outcome_of
from audit.services import Query, export, prune, reconcile, verify
from audit.tasks import prune as prune_task
from audit.tasks import reconcile as reconcile_task
from audit.writer import Writer
from mcphub.core.clock import epoch_us, now
from tests.audit.conftest import MakeEvent, record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every writer counts as silent."""
    limits = replace(settings.HUB.limits, audit_silent_s=-60)
    monkeypatch.setattr(settings, "HUB", settings.HUB.model_copy(update={"limits": limits}))


@pytest.mark.requirement("A2")
def test_call_of_a_dead_process_is_closed_as_unknown_once(writing: Writer, an_event: MakeEvent, silent: None) -> None:
    record(writing, an_event(call_id="done"), an_event(call_id="open"))
    record(writing, an_event(call_id="done", kind=Kind.OUTCOME, outcome=Result.COMPLETED))
    assert reconcile() == 1
    assert reconcile() == 0
    row = AuditEvent.objects.get(outcome="unknown")
    assert (row.call_id, row.principal, row.reason, row.upstream) == ("open", "anna@example.org", "lost", "time")
    assert verify().ok


def test_living_writer_is_left_alone_until_no_call_can_still_run(writing: Writer, an_event: MakeEvent) -> None:
    record(writing, an_event(call_id="old", at=epoch_us() - 3_600_000_000), an_event(call_id="young"))
    assert reconcile() == 1
    assert AuditEvent.objects.get(outcome="unknown").call_id == "old"
    assert AuditWriter.objects.get(scope=None).reconciled_seq == 1


def test_true_outcome_supersedes_unknown(writing: Writer, an_event: MakeEvent, silent: None) -> None:
    record(writing, an_event())
    reconcile()
    assert outcome_of(call("org-1", "call-1")).outcome == "unknown"  # type: ignore[union-attr]
    record(writing, an_event(kind=Kind.OUTCOME, outcome=Result.COMPLETED))
    assert outcome_of(call("org-1", "call-1")).outcome == "completed"  # type: ignore[union-attr]
    assert outcome_of(call("org-2", "call-1")) is None


@pytest.mark.requirement("A5")
def test_ndjson_holds_every_event_with_its_payload(writing: Writer, an_event: MakeEvent) -> None:
    record(writing, *(an_event(at=number, payload=b'{"n":%d}' % number) for number in range(1_500)))
    lines = b"".join(export("ndjson", Query())).splitlines()
    documents = [json.loads(line) for line in lines]
    assert [one["payload"]["n"] for one in documents] == list(range(1_500))
    assert documents[0]["details"] == {}


@pytest.mark.requirement("A5")
def test_csv_is_safe_for_spreadsheets(an_event: MakeEvent) -> None:
    Writer.record_sync(an_event(name="=cmd|calc", principal='a "quoted", name'))
    (row,) = csv.DictReader(io.StringIO(b"".join(export("csv", Query())).decode()))
    assert row["name"] == "'=cmd|calc"
    assert row["principal"] == 'a "quoted", name'


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(org_id="org-1"), 2),
        (Query(org_id=""), 0),
        (Query(org="default", kind="outcome"), 1),
        (Query(since=now() + timedelta(hours=1)), 0),
        (Query(until=now() + timedelta(hours=1), outcome="completed"), 1),
        (Query(upstream="other"), 0),
    ],
)
def test_queries_narrow(an_event: MakeEvent, query: Query, found: int) -> None:
    Writer.record_sync(an_event())
    Writer.record_sync(an_event(kind=Kind.OUTCOME, outcome=Result.COMPLETED))
    assert query.events().count() == found


def test_pages_meet_without_gap_or_repetition(an_event: MakeEvent) -> None:
    for number in range(25):
        Writer.record_sync(an_event(at=number // 4, call_id=str(number)))
    seen: list[str] = []
    place = None
    while page := older(AuditEvent.objects.all(), place, 7):
        seen += [row.call_id for row in page]
        place = Place.parse(str(Place(page[-1].at, page[-1].id)))
    assert seen == [str(number) for number in reversed(range(25))]


def test_commands_verify_export_and_prune(an_event: MakeEvent, tmp_path: Path, capsys: Any) -> None:
    Writer.record_sync(an_event(payload=b"{}"))
    call_command("verify_audit", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert report["rows"] == 1
    kept = tmp_path / "heads.json"
    kept.write_text(json.dumps(report))
    call_command("export_audit", "--output", str(tmp_path / "out.csv"), "--format", "csv", "--org", "default")
    assert (tmp_path / "out.csv").read_bytes().count(b"\r\n") == 2
    assert str(tmp_path / "out.csv") in capsys.readouterr().out
    call_command("prune_audit", "--payloads", "--principal-id", "user:anna", "--json")
    assert json.loads(capsys.readouterr().out) == {"payloads": 1}
    call_command("prune_audit", "--days", "0")
    assert "2 events removed" in capsys.readouterr().out
    call_command("verify_audit", "--heads", str(kept))
    AuditEvent.objects.all().delete()
    with pytest.raises(SystemExit) as ended:
        call_command("verify_audit")
    assert ended.value.code == 1
    assert "row" in capsys.readouterr().err
    kept.write_text("{}")
    with pytest.raises(CommandError):
        call_command("verify_audit", "--heads", str(kept))


@pytest.mark.requirement("A6")
def test_retention_setting_decides_what_goes(an_event: MakeEvent) -> None:
    year = timedelta(days=366)
    Writer.record_sync(an_event(at=int((now() - year).timestamp() * 1_000_000)))
    Writer.record_sync(an_event())
    assert prune() == 1
    prune_task()
    reconcile_task()
    assert [row.kind for row in AuditEvent.objects.order_by("at")] == ["intent", "act"]
    assert verify().ok


@pytest.mark.requirement("A1")
def test_denials_over_the_limit_become_one_counted_event_a_window(an_event: MakeEvent) -> None:
    recorded: list[Event] = []
    clock = [0.0]
    denials = Denials(recorded.append, now=lambda: clock[0])
    for number in range(flood.LIMIT + 500):
        denials.add(an_event(kind=Kind.DENIED, call_id=str(number)))
    denials.add(an_event(kind=Kind.DENIED, principal_id="user:bo"))
    assert len(recorded) == flood.LIMIT + 1
    denials.sweep()
    assert len(recorded) == flood.LIMIT + 1
    clock[0] += flood.WINDOW_S
    denials.sweep()
    assert recorded[-1].details == {"denials": 500, "window_s": flood.WINDOW_S}
    assert len(recorded) == flood.LIMIT + 2
    denials.add(an_event(kind=Kind.DENIED))
    assert len(recorded) == flood.LIMIT + 3


def test_flood_of_principals_stays_bounded(an_event: MakeEvent) -> None:
    recorded: list[Event] = []
    denials = Denials(recorded.append)
    for number in range(flood.MOST_PRINCIPALS + 100):
        denials.add(an_event(kind=Kind.DENIED, principal_id=str(number)))
    assert len(denials._windows) == flood.MOST_PRINCIPALS
    denials.close()
    assert not denials._windows
