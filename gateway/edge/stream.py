"""A stream of server-sent events to one client: a bounded queue, written as fast as the client reads."""

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


class EventStream:
    """The queue and its writer. The writer is a task that lives only while there is something to write.

    How long the client may stall is the server's limit (`write_s`): it aborts the connection.
    """

    __slots__ = (
        "_headers",
        "_limit_bytes",
        "_on_cut",
        "_pending",
        "_send",
        "_size",
        "_started",
        "_writer",
        "closed",
        "wrote_at",
    )

    def __init__(self, send: Send, limits: Limits, headers: Sequence[Header], on_cut: Callable[[], None]) -> None:
        self._send = send
        self._limit_bytes = 2 * limits.event_bytes
        self._headers = headers
        self._on_cut = on_cut
        self._pending: list[bytes] = []
        self._size = 0
        self._started = False
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

    def _cut(self) -> None:
        log.warning("slow_reader_cut", waiting_bytes=self._size)
        self.close()
        self._on_cut()

    def close(self) -> None:
        """Write nothing more, without a word to the client."""
        self.closed = True
        self._pending.clear()
        self._size = 0

    async def end(self, last: bytes = b"") -> None:
        """Write what waits, then `last`, then the end of the response."""
        while self._writer is not None:
            await asyncio.wait((self._writer,))
        if self.closed:
            return
        try:
            await self._start()
            await self._send({"type": "http.response.body", "body": last})
        except OSError:
            self.close()

    async def _drain(self) -> None:
        try:
            await self._start()
            while self._pending:
                chunk = b"".join(self._pending)
                self._pending.clear()
                self._size = 0
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
                self.wrote_at = clock.monotonic()
        except OSError:
            self.close()
        finally:
            self._writer = None

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            headers = [*STREAM_HEADERS, *self._headers]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
