"""Recording from Django's threads: the event joins the caller's transaction.

An operator's act and its record are committed together or not at all. Each org has one chain for such
events; its head lies in the database and is locked by the transaction that extends it.
"""

from contextlib import suppress

from django.conf import settings
from django.db import IntegrityError, transaction

from audit import chain
from audit.chain import Position
from audit.chains import key_of, open_chain
from audit.events import Event
from audit.models import AuditEvent, AuditPayload, AuditWriter
from audit.rows import COLUMNS, draft, sealed
from mcphub.core.clock import epoch_us
from mcphub.core.keyring import keyring


def append(*events: Event) -> None:
    """Record events of one org in the current transaction, or in one of their own."""
    scope = events[0].org_id
    payload_key = keyring().key(chain.PAYLOAD_PURPOSE)
    limit = settings.HUB.limits.audit_arguments_bytes
    drafts = [draft(event, payload_key, limit) for event in events]
    with transaction.atomic():
        writer = _locked_writer(scope)
        position = Position(writer.id, key_of(writer), writer.head_seq, bytes(writer.head_mac))
        rows, payloads, now = [], [], epoch_us()
        for one in drafts:
            row = sealed(one, position)
            rows.append(AuditEvent(**dict(zip(COLUMNS, row, strict=True))))
            if one.body:
                payloads.append(AuditPayload(id=row[0], salt=one.salt, body=one.body))
        AuditEvent.objects.bulk_create(rows)
        AuditPayload.objects.bulk_create(payloads)
        AuditWriter.objects.filter(pk=writer.pk).update(
            head_seq=position.seq,
            head_mac=position.mac,
            head_signature=position.signature(now),
            beat_at=now,
        )


def _locked_writer(scope: str) -> AuditWriter:
    chains = AuditWriter.objects.select_for_update().filter(scope=scope, key_id=keyring().newest)
    if (found := chains.first()) is not None:
        return found
    with suppress(IntegrityError):  # another transaction opened it meanwhile
        open_chain(scope)
    return chains.get()
