"""What goes to one client bit by bit: a bounded queue, written as fast as the client reads."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog

from gateway.errors import Header
from mcphub.core import clock
from mcphub.core.aio import spawn
from mcphub.core.limits import Limits

Send = Callable[[dict[str, Any]], Awaitable[None]]

KEEP_ALIVE: Final = b": keep-alive\r\n\r\n"
STREAM_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

log = structlog.get_logger(__name__)


def event_text(data: bytes) -> bytes:
    """One event. JSON may hold line breaks between its tokens, an event's data line may not."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"event: message\r\ndata: " + data + b"\r\n\r\n"


def _nothing() -> None:
    return None


class Queue:
    """What waits to be written to one client, bounded. The writer is a task that lives only while there is something.

    How long the client may stall is the server's limit (`write_s`): it aborts the connection.
    """

    __slots__ = ("_limit_bytes", "_on_cut", "_pending", "_size", "_writer", "closed", "send", "wrote_at")

    def __init__(self, send: Send, limits: Limits, on_cut: Callable[[], None]) -> None:
        self.send = send
        self._limit_bytes = 2 * limits.event_bytes
        self._on_cut = on_cut
        self._pending: list[bytes] = []
        self._size = 0
        self._writer: asyncio.Task[None] | None = None
        self.closed = False
        self.wrote_at = clock.monotonic()

    def put(self, chunk: bytes) -> None:
        """Queue one chunk. A reader so slow that two of the largest events wait for it is given up."""
        if self.closed:
            return
        self._pending.append(chunk)
        self._size += len(chunk)
        if self._size > self._limit_bytes:
            self._cut()
        elif self._writer is None:
            self._writer = spawn(self._drain(), name="edge-stream")

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the reader that news had better not be added to it."""
        return self._size > self._limit_bytes // 2

    def close(self) -> None:
        """Write nothing more, without a word to the client."""
        self.closed = True
        self._pending.clear()
        self._size = 0

    def release(self) -> None:
        """It was the last of it: nobody needs to hear that the reader is too slow."""
        self._on_cut = _nothing

    async def drained(self) -> None:
        """Wait until everything is written, or nothing will be."""
        while self._writer is not None:
            await asyncio.wait((self._writer,))

    async def write(self, chunks: list[bytes]) -> None:
        """Write some chunks. Raises `OSError` when the client is gone."""
        raise NotImplementedError

    def _cut(self) -> None:
        log.warning("slow_reader_cut", waiting_bytes=self._size)
        self.close()
        self._on_cut()

    async def _drain(self) -> None:
        try:
            while self._pending:
                chunks = self._pending
                self._pending = []
                self._size = 0
                await self.write(chunks)
                self.wrote_at = clock.monotonic()
        except OSError:
            self.close()
        finally:
            self._writer = None


class EventStream(Queue):
    """Server-sent events as the body of one response."""

    __slots__ = ("_headers", "_started")

    def __init__(self, send: Send, limits: Limits, headers: Sequence[Header], on_cut: Callable[[], None]) -> None:
        super().__init__(send, limits, on_cut)
        self._headers = headers
        self._started = False

    async def end(self, last: bytes = b"") -> None:
        """Write what waits, then `last`, then the end of the response."""
        await self.drained()
        if self.closed:
            return
        try:
            await self._start()
            await self.send({"type": "http.response.body", "body": last})
        except OSError:
            self.close()

    async def write(self, chunks: list[bytes]) -> None:
        await self._start()
        await self.send({"type": "http.response.body", "body": b"".join(chunks), "more_body": True})

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            headers = [*STREAM_HEADERS, *self._headers]
            await self.send({"type": "http.response.start", "status": 200, "headers": headers})
