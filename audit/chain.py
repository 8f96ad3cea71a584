"""The MAC chain that makes the record tamper-evident.

Every row carries a MAC (BLAKE2b with a 32-byte key, RFC 7693) of the previous mac and its own canonical
bytes; the first one continues the genesis of its writer, which binds that writer's row. A head (the last
position with its mac) is signed each time a chain grows, and what pruning removed is signed as a
tombstone. Nobody without the key can alter, insert or remove rows unseen.

What no MAC inside the database can show: that rows and head together were put back to an earlier state
that somebody had kept, or that the newest writer vanished with everything it wrote. Heads kept elsewhere
(`verify_audit --json`) show that too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

PURPOSE: Final = "audit-chain"
PAYLOAD_PURPOSE: Final = "audit-payload"
MAC_BYTES: Final = 32
SEQ_BITS: Final = 36

canonical: Final = msgspec.json.Encoder().encode
"""A row as bytes: one JSON array of its columns in order, UTF-8, byte strings in base64."""


def row_id(writer_id: int, seq: int) -> int:
    """The primary key of a row: its writer and its position in that writer's chain (from 1) in one number."""
    return writer_id << SEQ_BITS | seq


def writer_of(row_id: int) -> int:
    """The writer that a row belongs to."""
    return row_id >> SEQ_BITS


def seq_of(row_id: int) -> int:
    """The position of a row in its writer's chain, from 1."""
    return row_id & ((1 << SEQ_BITS) - 1)


@dataclass(slots=True, eq=False)
class Position:
    """Where a chain stands: the last row's number and mac, and the key that the next one is chained with."""

    writer_id: int
    key: bytes
    seq: int
    mac: bytes

    def advance(self, row: bytes) -> bytes:
        """Chain one more canonical row; returns its mac."""
        self.seq += 1
        self.mac = link(self.key, self.mac, row)
        return self.mac

    def signature(self, beat_at: int, closed: bool = False) -> bytes:
        """The signed head at this position."""
        return sign_head(self.key, self.writer_id, self.seq, self.mac, beat_at, closed)


def link(key: bytes, previous: bytes, row: bytes) -> bytes:
    """The mac of a row that follows the one with mac `previous`; 32 bytes."""
    return blake2b(previous + row, digest_size=MAC_BYTES, key=key).digest()


def genesis(key: bytes, previous: bytes, writer: Sequence[str | int]) -> bytes:
    """The mac of a writer's row: start of its chain, and itself linked to the writer before."""
    return _signature(key, b"writer", (previous, *writer))


def sign_head(key: bytes, writer_id: int, seq: int, mac: bytes, beat_at: int, closed: bool) -> bytes:
    """The signature under a chain's last position; `closed` says that nothing will follow it."""
    return _signature(key, b"head", (writer_id, seq, mac, beat_at, closed))


def sign_tombstone(key: bytes, writer_id: int, seq: int, mac: bytes, newest_at: int, pruned_at: int) -> bytes:
    """The signature under what pruning says of the rows 1 to `seq` that it removed from a chain."""
    return _signature(key, b"tombstone", (writer_id, seq, mac, newest_at, pruned_at))


def payload_digest(key: bytes, salt: bytes, body: bytes) -> bytes:
    """What a chained row knows of its payload: nothing that outlives the erasure of `salt` and `body`."""
    return blake2b(salt + body, digest_size=MAC_BYTES, key=key, person=b"payload").digest()


def _signature(key: bytes, what: bytes, facts: Sequence[str | int | bytes]) -> bytes:
    return blake2b(canonical(facts), digest_size=MAC_BYTES, key=key, person=what).digest()
