"""Checking the record: every chain is walked, and the first bad row of each is named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from django.db import connection

from audit import chain
from audit.chain import Position
from audit.chains import genesis_of, key_of
from audit.models import AuditEvent, AuditPayload, AuditTombstone, AuditWriter
from audit.rows import COLUMNS, follows
from mcphub.core.keyring import KeyMissing, keyring

PAGE_ROWS: Final = 2_000
_DIGEST: Final = COLUMNS.index("payload_digest")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one chain, at its first bad row (`row` is an event's id, or 0: the chain itself)."""

    writer: int
    row: int
    text: str


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The signed last position of a chain. Keep it elsewhere, and a later check shows rows taken from the end."""

    writer: int
    seq: int
    mac: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` saw: rows checked, payloads present and right, rows pruned before; and the faults."""

    chains: int
    rows: int
    payloads: int
    pruned: int
    heads: tuple[ChainHead, ...]
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        return not self.faults


class _Bad(Exception):
    """The chain ends here."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(text)
        self.row = row
        self.text = text


class _Walk:
    """The state of one verification."""

    def __init__(self) -> None:
        self.rows = self.payloads = self.pruned = 0

    def check(self, writer: AuditWriter, previous: bytes) -> None:
        """Walk one chain. Raises `_Bad`, `KeyMissing`."""
        if genesis_of(writer, previous) != bytes(writer.mac):
            raise _Bad(0, "the writer's row was altered, or the one before it was altered or removed")
        _check_head(writer)
        position = Position(writer.id, key_of(writer), 0, bytes(writer.mac))
        payload_key = keyring().key(chain.PAYLOAD_PURPOSE, writer.key_id)
        self._skip_pruned(position)
        _check_against_head(position, writer)
        for row in _rows(position):
            self._check_place(row[0], position)
            if position.seq < chain.seq_of(row[0]):
                self._check_row(row, position, payload_key)
                _check_against_head(position, writer)
        if position.seq < writer.head_seq and not self._skip_pruned(position, writer.head_seq):
            raise _Bad(chain.row_id(writer.id, position.seq + 1), "rows are missing at the end of the chain")

    def _check_place(self, row_id: int, position: Position) -> None:
        expected = chain.row_id(position.writer_id, position.seq + 1)
        if row_id != expected and not self._skip_pruned(position, chain.seq_of(row_id) - 1):
            raise _Bad(expected, "the row is missing")

    def _check_row(self, row: tuple[Any, ...], position: Position, payload_key: bytes) -> None:
        *columns, salt, body = row
        if not follows(columns, position):
            raise _Bad(row[0], "the row was altered")
        self.rows += 1
        if salt is not None:
            if chain.payload_digest(payload_key, bytes(salt), bytes(body)) != bytes(columns[_DIGEST]):
                raise _Bad(row[0], "the payload of the row was altered")
            self.payloads += 1

    def _skip_pruned(self, position: Position, up_to: int = 0) -> bool:
        """Go on behind the tombstone, if there is one further on (pruning may run meanwhile)."""
        tombstone = AuditTombstone.objects.filter(pk=position.writer_id).first()
        if tombstone is None or tombstone.last_seq < max(up_to, position.seq + 1):
            return False
        if bytes(tombstone.signature) != signature_of(tombstone):
            raise _Bad(0, "the tombstone of pruned rows was altered")
        self.pruned += tombstone.last_seq - position.seq
        position.seq, position.mac = tombstone.last_seq, bytes(tombstone.mac)
        return True


def signature_of(tombstone: AuditTombstone) -> bytes:
    """What the signature of a tombstone must be. Raises `KeyMissing`."""
    return chain.sign_tombstone(
        keyring().key(chain.PURPOSE, tombstone.key_id),
        tombstone.writer_id,
        tombstone.last_seq,
        bytes(tombstone.mac),
        tombstone.newest_at,
        tombstone.pruned_at,
    )


def verify(known_heads: Sequence[ChainHead] = ()) -> VerifyReport:
    """Check every chain, head, tombstone and payload, and that heads kept from earlier still hold.

    Safe while writers and pruning run.
    """
    walk, faults, previous = _Walk(), [], b""
    writers = list(AuditWriter.objects.order_by("id"))
    for writer in writers:
        try:
            walk.check(writer, previous)
        except _Bad as bad:
            faults.append(Fault(writer.id, bad.row, bad.text))
        except KeyMissing as missing:
            faults.append(Fault(writer.id, 0, str(missing)))
        previous = bytes(writer.mac)
    faults += [Fault(chain.writer_of(row), row, "the writer of the row is unknown") for row in _strays(writers)]
    faults += filter(None, map(_lost_since, known_heads))
    heads = tuple(ChainHead(one.id, one.head_seq, bytes(one.head_mac).hex()) for one in writers)
    return VerifyReport(len(writers), walk.rows, walk.payloads, walk.pruned, heads, tuple(faults))


def _check_head(writer: AuditWriter) -> None:
    signed = chain.sign_head(
        key_of(writer), writer.id, writer.head_seq, bytes(writer.head_mac), writer.beat_at, writer.closed
    )
    if signed != bytes(writer.head_signature):
        raise _Bad(chain.row_id(writer.id, writer.head_seq), "the signed head of the chain was altered")


def _check_against_head(position: Position, writer: AuditWriter) -> None:
    if position.seq == writer.head_seq and position.mac != bytes(writer.head_mac):
        raise _Bad(chain.row_id(writer.id, position.seq), "the row is not the one that was signed as the last")


def _rows(position: Position) -> Iterator[tuple[Any, ...]]:
    """Events of a chain behind `position` with salt and body of their payloads, page by page."""
    columns = ", ".join(f"e.{name}" for name in COLUMNS)
    events, payloads = AuditEvent._meta.db_table, AuditPayload._meta.db_table
    sql = (
        f"SELECT {columns}, p.salt, p.body FROM {events} e LEFT JOIN {payloads} p ON p.id = e.id"
        " WHERE e.id > %s AND e.id < %s ORDER BY e.id LIMIT %s"
    )
    last, end = chain.row_id(position.writer_id, position.seq), chain.row_id(position.writer_id + 1, 0)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(sql, [last, end, PAGE_ROWS])
            page = cursor.fetchall()
        yield from page
        if len(page) < PAGE_ROWS:
            return
        last = page[-1][0]


def _lost_since(head: ChainHead) -> Fault | None:
    """The fault when the row that was a chain's head once is neither there nor pruned."""
    if head.seq == 0:
        found = AuditWriter.objects.filter(pk=head.writer, mac=bytes.fromhex(head.mac)).exists()
    else:
        row_id = chain.row_id(head.writer, head.seq)
        row = AuditEvent.objects.filter(pk=row_id).only("mac").first()
        pruned = AuditTombstone.objects.filter(pk=head.writer, last_seq__gte=head.seq).exists()
        found = bytes(row.mac).hex() == head.mac if row else pruned
    if found:
        return None
    return Fault(
        head.writer, chain.row_id(head.writer, head.seq), "the chain was put back behind a head known before"
    )


def _strays(writers: list[AuditWriter]) -> Iterator[int]:
    """The first event in every stretch of ids that belongs to no writer."""
    bounds = [0, *(writer.id for writer in writers), 1 << (63 - chain.SEQ_BITS)]
    for before, after in pairwise(bounds):
        low, high = chain.row_id(before + 1, 0), min(chain.row_id(after, 0), 2**63 - 1)
        found = (
            AuditEvent.objects.filter(id__gte=low, id__lt=high).order_by("id").values_list("id", flat=True).first()
        )
        if found is not None and not AuditWriter.objects.filter(pk=chain.writer_of(found)).exists():
            yield found
