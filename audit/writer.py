"""The writer: one thread per process that makes events durable, many at a time.

The event loop only puts events into a bounded queue and, for what must be durable first, waits for a
future. Redaction, hashing, chaining and the database belong to the thread. When the database fails, the
thread goes on trying; those who wait are refused at the store's limit, and nothing needs a restart.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain as chained
from itertools import count
from time import monotonic, sleep
from typing import Final

import msgspec
import structlog
from django.conf import settings
from django.db import connection, connections

from audit import chain, journal, metrics
from audit.chain import Position
from audit.chains import open_chain
from audit.events import AuditUnavailable, Event, Kind, Result
from audit.inbox import Entry, Inbox
from audit.rows import Draft, check, draft, sealed
from audit.stores import ChainBroken, Head, Store, StoreFault, store_for
from mcphub.core.clock import epoch_us
from mcphub.core.keyring import keyring
from mcphub.core.limits import Limits

WATCH_S: Final = 0.1
BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.4, 0.5)
STOP_S: Final = 5.0

Batch = list[tuple[Entry, Draft]]

log = structlog.get_logger(__name__)


class Writer:
    """Records events through one thread and one chain. Starts by itself with the first event."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store: Final = store
        self._inbox: Final = Inbox(limits.audit_queue_rows, limits.audit_queue_bytes)
        self._payload_bytes: Final = limits.audit_arguments_bytes
        self._beat_s: Final = min(limits.audit_head_s, limits.audit_silent_s / 4)
        self._position: Position | None = None
        self._doubtful: Position | None = None
        self._in_flight: Sequence[Entry] = ()
        self._watching: Final[set[asyncio.AbstractEventLoop]] = set()
        self._thread: threading.Thread | None = None
        self._starting: Final = threading.Lock()
        self._give_up_at = float("inf")
        self._gave_up = False
        self.stopped = False
        self.dropped = 0
        self.refused = 0

    def record(self, event: Event) -> asyncio.Future[None]:
        """Done when `event` is durable. Raises `AuditUnavailable` at the store's limit or with a full queue."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._thread is None:
            self.start()
        if not self._inbox.put(event, future):
            self._count_refused()
            raise AuditUnavailable("the audit queue is full")
        if loop not in self._watching:
            self._watch(loop)
        return future

    def record_soon(self, event: Event) -> None:
        """Hand `event` over without waiting; dropped and counted when the queue is full. Any thread may call."""
        if self._thread is None:
            self.start()
        if not self._inbox.put(event):
            self._count_dropped(1)

    @staticmethod
    def record_sync(event: Event) -> None:
        """Record `event` in the calling thread's Django transaction (see `audit.journal`)."""
        journal.append(event)

    @property
    def queued(self) -> tuple[int, int]:
        """Rows and bytes that are not yet durable."""
        return self._inbox.rows, self._inbox.bytes

    def start(self) -> None:
        """Start the thread, once."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mcphub-audit", daemon=True)
                self._thread.start()

    def stop(self, timeout: float = STOP_S) -> bool:
        """Store what is queued, close the chain and end the thread. False when `timeout` seconds were not enough.

        Blocks; an event loop calls it in a thread.
        """
        self._give_up_at = monotonic() + timeout
        self._inbox.stop()
        self.stopped = True
        if self._thread is not None:
            self._thread.join(timeout + 1)
        return self._inbox.rows == 0 and not self._gave_up

    # Deadlines: kept by each loop, so that even a thread that hangs in the database holds nobody.

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watching.add(loop)
        loop.call_later(WATCH_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        too_old = monotonic() - self._store.wait_s
        for entry in chained(self._in_flight, self._inbox.older_than(too_old)):
            if entry.since < too_old and entry.future is not None and entry.future.get_loop() is loop:
                self._refuse(entry)
        if self._inbox.rows:
            loop.call_later(WATCH_S, self._look, loop)
        else:
            self._watching.discard(loop)

    def _refuse(self, entry: Entry) -> None:
        if entry.future is not None and not entry.future.done():
            self._count_refused()
            entry.future.set_exception(AuditUnavailable("the audit record cannot be written"))

    def _count_refused(self) -> None:
        self.refused += 1
        metrics.REFUSED.inc()

    def _count_dropped(self, events: int) -> None:
        self.dropped += events
        metrics.DROPPED.inc(events)

    # The thread.

    def _run(self) -> None:
        while True:
            if entries := self._inbox.take(self._beat_s):
                self._in_flight = entries
                try:
                    self._store_all(entries)
                except Exception:  # top of the thread: whatever it is, the next events must find a writer
                    log.exception("audit_writer_fails")
                    self._position = self._doubtful = None
                    self._store.close()
                    _on_loops(entries, self._refuse_all)
                finally:
                    self._in_flight = ()
                    self._inbox.settled(entries)
            elif self._inbox.stopping:
                break
            else:
                self._move_head(closed=False)
        self._move_head(closed=True)
        self._store.close()

    def _store_all(self, entries: Sequence[Entry]) -> None:
        """Try until the entries are durable, or nobody wants them any more, or the writer gives up."""
        batch = self._drafted(entries)
        for attempt in count():
            try:
                if self._landed() or not (batch := [one for one in batch if not _was_refused(one[0])]):
                    break
                self._commit(batch)
                break
            except ChainBroken:
                log.warning("audit_chain_replaced")
            except StoreFault as fault:
                if attempt == 0:
                    log.warning("audit_store_fails", error=str(fault))
                if fault.bad_row:
                    batch = self._without_malformed(batch)
            except (TypeError, ValueError):
                batch = self._without_malformed(batch)
            if monotonic() > self._give_up_at:
                self._count_dropped(len(batch))
                self._gave_up = True
                return
            sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
        _on_loops((entry for entry, _ in batch), self._settle)
        metrics.count(entry.event for entry, _ in batch)

    def _drafted(self, entries: Sequence[Entry]) -> Batch:
        key = keyring().key(chain.PAYLOAD_PURPOSE)
        batch = []
        for entry in entries:
            try:
                batch.append((entry, draft(entry.event, key, self._payload_bytes)))
            except (ValueError, TypeError, RecursionError) as fault:
                self._discard(entry, fault)
        return batch

    def _without_malformed(self, batch: Batch) -> Batch:
        """The batch without what no database can hold; those who wait for that are refused."""
        sound = []
        for entry, one in batch:
            try:
                check(one)
                sound.append((entry, one))
            except (ValueError, TypeError) as fault:
                self._discard(entry, fault)
        return sound

    def _discard(self, entry: Entry, fault: Exception) -> None:
        log.error("audit_event_malformed", call_id=str(entry.event.call_id), fault=str(fault))
        self._count_dropped(1)
        _on_loops((entry,), self._refuse_all)

    def _landed(self) -> bool:
        """Whether the batch whose commit was in doubt is in the database after all. Resolves the doubt."""
        tried, position = self._doubtful, self._position
        if tried is None or position is None:
            return False
        stored = self._store.head(position.writer_id)
        self._doubtful = None
        if stored == (tried.seq, tried.mac):
            self._position = tried
            return True
        if stored != (position.seq, position.mac):
            self._position = None
        return False

    def _commit(self, batch: Batch) -> None:
        start = self._position = self._position or self._open_chain()
        end = Position(start.writer_id, start.key, start.seq, start.mac)
        events, payloads = [], []
        for _, one in batch:
            row = sealed(one, end)
            events.append(row)
            if one.body:
                payloads.append((row[0], one.salt, one.body))
        now = epoch_us()
        head = Head(end.writer_id, start.seq, end.seq, end.mac, end.signature(now), now)
        self._doubtful = end
        try:
            self._store.append(events, payloads, head, self._patience(batch))
        except ChainBroken:
            self._position = self._doubtful = None
            raise
        self._position, self._doubtful = end, None

    def _patience(self, batch: Batch) -> float:
        """Seconds until the first of those who wait is refused."""
        since = min((entry.since for entry, _ in batch if entry.future is not None), default=monotonic())
        return since + self._store.wait_s - monotonic()

    def _open_chain(self) -> Position:
        try:
            return open_chain(None)
        except Exception as error:  # whatever Django's connection meets, the thread must live
            raise StoreFault(str(error)) from error
        finally:
            connections["default"].close()

    def _move_head(self, closed: bool) -> None:
        """Show that the writer lives, or that its chain ends here."""
        at = self._position
        if at is None or self._doubtful is not None:
            return
        now = epoch_us()
        head = Head(at.writer_id, at.seq, at.seq, at.mac, at.signature(now, closed), now, closed)
        try:
            self._store.append((), (), head, self._store.wait_s)
        except StoreFault as fault:
            log.warning("audit_beat_failed", error=str(fault))
        except ChainBroken:
            self._position = None

    # Back on the loop.

    def _settle(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            future = entry.future
            if future is None:
                continue
            if not future.done():
                future.set_result(None)
            elif not future.cancelled() and entry.event.kind == Kind.INTENT:
                self.record_soon(_never_sent(entry.event))

    def _refuse_all(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._refuse(entry)


def _was_refused(entry: Entry) -> bool:
    future = entry.future
    return future is not None and future.done() and not future.cancelled()


def _never_sent(intent: Event) -> Event:
    """The outcome of an intent that became durable only after its caller was refused."""
    return msgspec.structs.replace(
        intent,
        kind=Kind.OUTCOME,
        at=epoch_us(),
        outcome=Result.NOT_SENT,
        reason="audit_unavailable",
        payload=b"",
    )


def _on_loops(entries: Iterable[Entry], callback: Callable[[Sequence[Entry]], None]) -> None:
    """Hand entries that are waited for to `callback` on their own loops, one wake-up per loop."""
    waited: dict[asyncio.AbstractEventLoop, list[Entry]] = {}
    for entry in entries:
        if entry.future is not None:
            waited.setdefault(entry.future.get_loop(), []).append(entry)
    for loop, group in waited.items():
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(callback, group)


_current: tuple[int, Writer] | None = None
_making: Final = threading.Lock()


def writer() -> Writer:
    """This process's writer; a new one after a fork or after `stop`."""
    global _current
    pid = os.getpid()
    current = _current
    if current is not None and current[0] == pid and not current[1].stopped:
        return current[1]
    with _making:
        if _current is None or _current[0] != pid or _current[1].stopped:
            _current = pid, Writer(store_for(connection.vendor, settings.HUB.audit_fsync), settings.HUB.limits)
            atexit.register(_current[1].stop)
        return _current[1]
