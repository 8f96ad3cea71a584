"""Closing what nobody will close: calls whose process died, or whose outcome was dropped.

Such an intent gets an outcome `unknown`. Should the true outcome arrive later, it supersedes that one:
readers prefer whichever outcome of a call is not `unknown`.
"""

from typing import Final

from django.conf import settings
from django.db import connection

from audit import chain, journal
from audit.events import Event, Kind, Result
from audit.models import AuditEvent, AuditWriter
from mcphub.core.clock import epoch_us

CHUNK_ROWS: Final = 5_000
CLOSE_AT_ONCE: Final = 100
REASON: Final = "lost"

_OPEN_INTENTS: Final = f"""
    SELECT i.id FROM {AuditEvent._meta.db_table} i
    WHERE i.id > %s AND i.id <= %s AND i.kind = 'intent' AND i.call_id <> ''
      AND NOT EXISTS (
        SELECT 1 FROM {AuditEvent._meta.db_table} o WHERE o.call_id = i.call_id AND o.kind = 'outcome'
      )
    ORDER BY i.id
"""


def close_open_intents() -> int:
    """Write outcome `unknown` for open intents of writers that fell silent, or that are older than any call.

    Returns how many. Safe to run twice and at several places.
    """
    return sum(_close_of(writer) for writer in AuditWriter.objects.filter(scope=None).order_by("id"))


def _close_of(writer: AuditWriter) -> int:
    limits, now = settings.HUB.limits, epoch_us()
    # A sign of life from the future is none either: the clock was put back since.
    silent = writer.closed or abs(now - writer.beat_at) > limits.audit_silent_s * 1_000_000
    longest_call_us = int((limits.call_hard_s + limits.person_s) * 2 * 1_000_000)
    closed = 0
    while writer.reconciled_seq < writer.head_seq:
        upto = min(writer.head_seq, writer.reconciled_seq + CHUNK_ROWS)
        if not silent:
            upto = _last_before(writer, upto, now - longest_call_us)
        if upto <= writer.reconciled_seq:
            break
        closed += _close_between(writer, upto)
        writer.reconciled_seq = upto
        AuditWriter.objects.filter(pk=writer.pk).update(reconciled_seq=upto)
    return closed


def _last_before(writer: AuditWriter, upto: int, before: int) -> int:
    """The last position up to `upto` at which everything is older than `before`."""
    rows = AuditEvent.objects.filter(
        id__gt=chain.row_id(writer.id, writer.reconciled_seq), id__lte=chain.row_id(writer.id, upto)
    )
    younger = rows.filter(at__gte=before).order_by("id").values_list("id", flat=True).first()
    return upto if younger is None else chain.seq_of(younger) - 1


def _close_between(writer: AuditWriter, upto: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_INTENTS, [chain.row_id(writer.id, writer.reconciled_seq), chain.row_id(writer.id, upto)])
        ids = [row[0] for row in cursor.fetchall()]
    by_org: dict[str, list[Event]] = {}
    for intent in AuditEvent.objects.filter(id__in=ids).order_by("id"):
        by_org.setdefault(intent.org_id, []).append(_unknown(intent))
    for outcomes in by_org.values():
        for start in range(0, len(outcomes), CLOSE_AT_ONCE):
            journal.append(*outcomes[start : start + CLOSE_AT_ONCE])
    return len(ids)


def _unknown(intent: AuditEvent) -> Event:
    return Event(
        kind=Kind.OUTCOME,
        at=epoch_us(),
        outcome=Result.UNKNOWN,
        reason=REASON,
        **{name: getattr(intent, name) for name in _CARRIED},
    )


_CARRIED: Final = (
    "org_id", "org", "call_id", "principal_id", "principal", "credential", "application", "method", "upstream",
    "name", "risk", "effect", "rule", "upstream_identity", "trace_id", "source",
)  # fmt: skip
