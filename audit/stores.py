"""The writer's own database connection: SQLite or PostgreSQL, without model objects.

A store appends one batch in one transaction and moves the chain's head in it, so that after any doubt
(a connection lost during COMMIT) the head tells whether the batch is there.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar, Final, Protocol

import psycopg
from django.db import connections

from audit.models import AuditEvent, AuditPayload, AuditWriter
from audit.rows import COLUMNS, PAYLOAD_COLUMNS, Row
from mcphub.core.env import POSTGRESQL_S, SQLITE_S

EVENTS: Final = AuditEvent._meta.db_table
PAYLOADS: Final = AuditPayload._meta.db_table
WRITERS: Final = AuditWriter._meta.db_table

READ_HEAD: Final = f"SELECT head_seq, head_mac FROM {WRITERS} WHERE id = %s"
MOVE_HEAD: Final = (
    f"UPDATE {WRITERS} SET head_seq = %s, head_mac = %s, head_signature = %s, beat_at = %s, closed = %s"
    " WHERE id = %s AND head_seq = %s"
)
LOG_ROWS: Final = 4_096
LOG_WAIT_S: Final = 0.02
LOG_PAGES: Final = 4_096
"""After so many rows the write-ahead log is moved into the database: by a thread, for it syncs the disk, and every
call would wait for that. Beyond so many pages the writer is stopped for the rest of it, so that the log begins anew.
"""
CHUNKS: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)


class StoreFault(Exception):
    """The batch is not known to be stored. The connection is closed; ask the head before the next try.

    `bad_row` when the database is well but did not like what it was given.
    """

    def __init__(self, text: str, *, bad_row: bool = False) -> None:
        super().__init__(text)
        self.bad_row = bad_row


class ChainBroken(Exception):
    """The writer's row is not where this writer left it: the database was replaced, or somebody else wrote."""


@dataclass(frozen=True, slots=True)
class Head:
    """The move of a chain's head from `before` to `seq`, signed."""

    writer_id: int
    before: int
    seq: int
    mac: bytes
    signature: bytes
    beat_at: int
    closed: bool = False

    def parameters(self) -> tuple[Any, ...]:
        """Values for `MOVE_HEAD`."""
        return (self.seq, self.mac, self.signature, self.beat_at, self.closed, self.writer_id, self.before)


class Store(Protocol):
    """One connection, used by one thread. `wait_s` is how long an event may wait to become durable."""

    wait_s: ClassVar[float]

    def head(self, writer_id: int) -> tuple[int, bytes] | None:
        """Position and mac of the chain as stored. Raises `StoreFault`."""

    def append(self, events: Sequence[Row], payloads: Sequence[Row], head: Head, patience_s: float) -> None:
        """Store a batch and move the head, all or nothing. Raises `StoreFault`, `ChainBroken`."""

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""


class SqliteStore:
    """WAL and IMMEDIATE; `fsync` makes every commit safe against power loss too."""

    wait_s: ClassVar[float] = SQLITE_S

    def __init__(self, fsync: bool) -> None:
        self._fsync: Final = fsync
        self._connection: sqlite3.Connection | None = None
        self._patience_ms = 0
        self._log_rows = 0
        self._emptying: Thread | None = None

    def head(self, writer_id: int) -> tuple[int, bytes] | None:
        try:
            row = self._open().execute(READ_HEAD.replace("%s", "?"), (writer_id,)).fetchone()
        except sqlite3.Error as error:
            self.close()
            raise StoreFault(str(error)) from error
        return row and (row[0], row[1])

    def append(self, events: Sequence[Row], payloads: Sequence[Row], head: Head, patience_s: float) -> None:
        try:
            connection = self._open()
            self._be_patient(connection, patience_s)
            connection.execute("BEGIN IMMEDIATE")
            for sql, parameters in _inserts(EVENTS, COLUMNS, events):
                connection.execute(sql, parameters)
            for sql, parameters in _inserts(PAYLOADS, PAYLOAD_COLUMNS, payloads):
                connection.execute(sql, parameters)
            moved = connection.execute(_MOVE_HEAD, head.parameters()).rowcount
            connection.execute("COMMIT" if moved == 1 else "ROLLBACK")
        except (sqlite3.Error, OverflowError) as error:
            self.close()
            raise StoreFault(str(error), bad_row=not isinstance(error, sqlite3.OperationalError)) from error
        if moved != 1:
            raise ChainBroken
        self._log_rows += len(events)
        if self._log_rows >= LOG_ROWS:
            self._empty_log()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _empty_log(self) -> None:
        if self._emptying is None or not self._emptying.is_alive():
            self._log_rows = 0
            self._emptying = Thread(target=_checkpoint, args=(_name(),), name="mcphub-checkpoint", daemon=True)
            self._emptying.start()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                _existing(_name()),
                timeout=self.wait_s,
                isolation_level=None,
                check_same_thread=False,
                uri=True,
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'FULL' if self._fsync else 'NORMAL'}")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            self._connection, self._patience_ms = connection, int(self.wait_s * 1000)
        return self._connection

    def _be_patient(self, connection: sqlite3.Connection, patience_s: float) -> None:
        """How long a locked database is waited for; changed only when a batch already waited before."""
        wanted = max(1, int(patience_s * 10)) * 100
        if wanted != self._patience_ms:
            connection.execute(f"PRAGMA busy_timeout={wanted}")
            self._patience_ms = wanted


def _checkpoint(name: str) -> None:
    """Move what stands in the write-ahead log into the database, beside the writer (a thread's work).

    Whatever prevents it, the log only grows until the next time.
    """
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(_existing(name), timeout=LOG_WAIT_S, uri=True)) as connection,
    ):
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages >= LOG_PAGES:
            connection.execute("PRAGMA wal_checkpoint(RESTART)")


def _name() -> str:
    return str(connections["default"].settings_dict["NAME"])


def _existing(name: str) -> str:
    """The database as a URI that never makes a new file."""
    return name if name.startswith("file:") else f"{Path(name).absolute().as_uri()}?mode=rw"


_MOVE_HEAD: Final = MOVE_HEAD.replace("%s", "?")
_VALUES: Final = {
    (table, size): f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
    + ", ".join(["(" + ", ".join("?" * len(columns)) + ")"] * size)
    for table, columns in ((EVENTS, COLUMNS), (PAYLOADS, PAYLOAD_COLUMNS))
    for size in CHUNKS
}


def _inserts(table: str, columns: Sequence[str], rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
    """Few statements with many rows each: every statement gives the interpreter lock away and waits for it again."""
    start = 0
    for size in CHUNKS:
        while len(rows) - start >= size:
            yield _VALUES[table, size], list(chain.from_iterable(rows[start : start + size]))
            start += size


class PostgresStore:
    """COPY in one transaction. With `fsync` the commit is synchronous whatever the server's default says."""

    wait_s: ClassVar[float] = POSTGRESQL_S

    def __init__(self, fsync: bool) -> None:
        self._fsync: Final = fsync
        self._connection: psycopg.Connection[Any] | None = None

    def head(self, writer_id: int) -> tuple[int, bytes] | None:
        try:
            row = self._open().execute(READ_HEAD, (writer_id,)).fetchone()
        except psycopg.Error as error:
            self.close()
            raise StoreFault(str(error)) from error
        return row and (row[0], bytes(row[1]))

    def append(self, events: Sequence[Row], payloads: Sequence[Row], head: Head, patience_s: float) -> None:
        try:
            connection = self._open()
            with connection.transaction(), connection.cursor() as cursor:
                _copy(cursor, EVENTS, COLUMNS, events)
                _copy(cursor, PAYLOADS, PAYLOAD_COLUMNS, payloads)
                if cursor.execute(MOVE_HEAD, head.parameters()).rowcount != 1:
                    raise ChainBroken
        except psycopg.Error as error:
            self.close()
            bad_row = not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
            raise StoreFault(str(error), bad_row=bad_row) from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            parameters = connections["default"].get_connection_params()
            for unwanted in ("cursor_factory", "context", "prepare_threshold"):
                parameters.pop(unwanted, None)
            limit_ms = int(self.wait_s * 1000)
            durable = ("-c synchronous_commit=on",) if self._fsync else ()
            parameters |= {
                "connect_timeout": 2,
                "tcp_user_timeout": limit_ms,
                "application_name": "mcphub audit",
                "options": " ".join((parameters.get("options", ""), f"-c statement_timeout={limit_ms}", *durable)),
            }
            self._connection = psycopg.connect(**parameters, autocommit=True)
        return self._connection


def _copy(cursor: psycopg.Cursor[Any], table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    if rows:
        with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def store_for(vendor: str, fsync: bool) -> Store:
    """The store of the configured database (`connection.vendor`)."""
    return PostgresStore(fsync) if vendor == "postgresql" else SqliteStore(fsync)
