"""Opening chains: the writer rows that every event hangs on."""

import os
import socket
import sys
from typing import Final

from django.db import connection, transaction

from audit import chain
from audit.chain import Position
from audit.models import AuditWriter
from mcphub.core.clock import epoch_us
from mcphub.core.keyring import keyring

REGISTRY_LOCK: Final = 0x6D63_7068_6175  # any fixed number: PostgreSQL's advisory lock for new writer rows


def open_chain(scope: str | None) -> Position:
    """Start a chain under the newest key and make its writer row durable: of this process, or of a scope's acts."""
    now = epoch_us()
    with transaction.atomic():
        _lock_registry()
        last = AuditWriter.objects.order_by("-id").only("id", "mac").first()
        row = AuditWriter(
            id=last.id + 1 if last else 1,
            scope=scope,
            process=f"{socket.gethostname()} {os.getpid()} {os.path.basename(sys.argv[0])}",
            key_id=keyring().newest,
            started_at=now,
            beat_at=now,
        )
        key = key_of(row)
        row.mac = row.head_mac = genesis_of(row, bytes(last.mac) if last else b"")
        position = Position(row.id, key, 0, row.mac)
        row.head_signature = position.signature(now)
        row.save(force_insert=True)
    return position


def key_of(row: AuditWriter) -> bytes:
    """The key of a writer's chain. Raises `KeyMissing` when its ring key is gone."""
    return keyring().key(chain.PURPOSE, row.key_id)


def genesis_of(row: AuditWriter, previous: bytes) -> bytes:
    """What `mac` of a writer row must be, given the mac of the writer before it."""
    facts = (row.id, row.scope or "", row.process, row.key_id, row.started_at)
    return chain.genesis(key_of(row), previous, facts)


def _lock_registry() -> None:
    """One writer row at a time; SQLite's immediate transactions do so by themselves."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [REGISTRY_LOCK])
