"""The record as tables. Rows are written by `audit.writer` and `audit.journal` only, and never changed.

Times are microseconds since 1970 (UTC). Nothing points elsewhere by foreign key: the record outlives
what it names.
"""

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class RowId(models.BigIntegerField):  # type: ignore[type-arg]  # Django gives no subscript at run time
    """A 64-bit primary key given by us. In SQLite it is the row's own number, without a second index."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "integer" if connection.vendor == "sqlite" else "bigint"


class AuditWriter(models.Model):
    """One chain: of a process that recorded calls (`scope` is null), or of the acts in one org.

    `mac` binds the row and links it to the writer before; `head_*` are the last position of the chain, signed in the
    transaction that wrote it. `beat_at` tells that the process lives; intents up to `reconciled_seq` have an outcome.
    """

    id = RowId(primary_key=True)
    scope = models.CharField(max_length=36, null=True)  # noqa: DJ001 - null keeps process chains out of the constraint
    process = models.TextField()
    key_id = models.CharField(max_length=8)
    started_at = models.BigIntegerField()
    mac = models.BinaryField()
    head_seq = models.BigIntegerField(default=0)
    head_mac = models.BinaryField()
    head_signature = models.BinaryField()
    beat_at = models.BigIntegerField()
    closed = models.BooleanField(default=False)
    reconciled_seq = models.BigIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("scope", "key_id"), name="one_act_chain_per_scope"),)

    def __str__(self) -> str:
        return f"writer {self.id} ({self.scope or self.process})"


class AuditEvent(models.Model):
    """One event; see `audit.events.Event` for the fields. `id` holds writer and position (`audit.chain.row_id`)."""

    id = RowId(primary_key=True)
    kind = models.TextField()
    at = models.BigIntegerField()
    org_id = models.TextField()
    org = models.TextField()
    call_id = models.TextField(db_index=False)
    principal_id = models.TextField()
    principal = models.TextField()
    credential = models.TextField()
    application = models.TextField()
    method = models.TextField()
    upstream = models.TextField()
    name = models.TextField()
    risk = models.TextField()
    effect = models.TextField()
    rule = models.TextField()
    reason = models.TextField()
    outcome = models.TextField()
    upstream_identity = models.TextField()
    latency_us = models.BigIntegerField()
    request_bytes = models.BigIntegerField()
    result_bytes = models.BigIntegerField()
    trace_id = models.TextField()
    source = models.TextField()
    payload_mode = models.TextField()
    payload_digest = models.BinaryField()
    details = models.TextField()
    mac = models.BinaryField()

    class Meta:
        indexes = (
            models.Index(fields=("org_id", "at"), name="audit_event_timeline"),
            models.Index(fields=("call_id",), name="audit_event_call"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name} by {self.principal}".strip()

    @property
    def when(self) -> datetime:
        """`at` as an aware date."""
        return datetime.fromtimestamp(self.at / 1_000_000, UTC)

    def save(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("the record is written by audit.writer and audit.journal only")


class AuditPayload(models.Model):
    """What an event carried, as far as its mode kept it. Erasable: the chain holds only a salted hash."""

    id = RowId(primary_key=True)
    salt = models.BinaryField()
    body = models.BinaryField()

    def __str__(self) -> str:
        return f"payload of {self.id}"


class AuditTombstone(models.Model):
    """What pruning removed from the start of one writer's chain, signed; `mac` is where the chain goes on."""

    writer = models.OneToOneField(AuditWriter, on_delete=models.PROTECT, primary_key=True)
    key_id = models.CharField(max_length=8)
    last_seq = models.BigIntegerField()
    mac = models.BinaryField()
    newest_at = models.BigIntegerField()
    pruned_at = models.BigIntegerField()
    signature = models.BinaryField()

    def __str__(self) -> str:
        return f"rows 1 to {self.last_seq} of {self.writer}"
