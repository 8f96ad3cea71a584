"""Pruning old events and erasing payloads, in small transactions, without hurting the chains."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import takewhile
from time import monotonic, sleep
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from audit import chain
from audit.models import AuditEvent, AuditPayload, AuditTombstone, AuditWriter
from audit.verification import signature_of
from mcphub.core.clock import epoch_us
from mcphub.core.keyring import keyring

CHUNK_S: Final = 0.02
FIRST_CHUNK: Final = 100
LARGEST_CHUNK: Final = 2_000


def prune_events(older_than: datetime) -> int:
    """Remove from the start of every chain the events before `older_than`; returns how many.

    Each chain keeps a signed tombstone. A chain is cut at its first younger row, so that it stays whole.
    """
    before = int(older_than.timestamp() * 1_000_000)
    writers = AuditWriter.objects.order_by("id")
    return sum(_in_chunks(partial(_prune_chunk, writer, before)) for writer in writers)


def _prune_chunk(writer: AuditWriter, before: int, size: int) -> int:
    first, end = chain.row_id(writer.id, 0), chain.row_id(writer.id + 1, 0)
    oldest = AuditEvent.objects.filter(id__gt=first, id__lt=end).order_by("id").values_list("id", "at", "mac")
    with transaction.atomic():
        AuditWriter.objects.select_for_update().get(pk=writer.pk)
        old = list(takewhile(lambda row: row[1] < before, oldest[:size]))
        if old:
            last_id, _, mac = old[-1]
            _bury(writer, chain.seq_of(last_id), bytes(mac), max(at for _, at, _ in old))
            AuditPayload.objects.filter(id__gt=first, id__lte=last_id).delete()
            AuditEvent.objects.filter(id__gt=first, id__lte=last_id).delete()
    return len(old)


def _bury(writer: AuditWriter, last_seq: int, mac: bytes, newest_at: int) -> None:
    tombstone = AuditTombstone(
        writer_id=writer.id,
        key_id=keyring().newest,
        last_seq=last_seq,
        mac=mac,
        newest_at=newest_at,
        pruned_at=epoch_us(),
    )
    tombstone.signature = signature_of(tombstone)
    tombstone.save()


def erase(events: QuerySet[AuditEvent]) -> int:
    """Erase the payloads of `events`; the rows and their chains stay valid. Returns how many."""
    return _in_chunks(partial(_erase_chunk, events))


def _erase_chunk(events: QuerySet[AuditEvent], size: int) -> int:
    with_payload = AuditPayload.objects.filter(id__in=events.order_by().values("id"))
    ids = list(with_payload.values_list("id", flat=True)[:size])
    AuditPayload.objects.filter(id__in=ids).delete()
    return len(ids)


def _in_chunks(step: Callable[[int], int]) -> int:
    """Call `step(size)` until it does nothing, sized to take about `CHUNK_S`, and leave as much time to others."""
    total, size = 0, FIRST_CHUNK
    while True:
        started = monotonic()
        done = step(size)
        if not done:
            return total
        total += done
        took = monotonic() - started
        sleep(took)
        size = max(1, min(LARGEST_CHUNK, int(size * min(2.0, CHUNK_S / max(took, 1e-6)))))
