"""One HTTP/1.1 connection as a client: a request out, an answer in, bounded, and closed at once when cancelled.

Written on asyncio and httptools (llhttp) because what decides a gateway's worth lies here: whether bytes of
a request may have left (`sent`), and that a cancelled exchange ends at the upstream within milliseconds,
also before its first byte. The Rust clients with the same cost leave such a request running.
"""

import asyncio
from typing import Any, Final, cast

import httptools

from mcphub.core import clock
from upstreams.errors import Lost, ProtocolFault, UpstreamError

BUFFER_BYTES: Final = 256 * 1024
NO_LIMIT: Final = 1 << 62


class Wire(asyncio.Protocol):
    """A connection that carries one request at a time; an answer may have `header_bytes` of headers."""

    def __init__(self, header_bytes: int) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.complete = True
        self.reusable = True
        self.free_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._most_head_bytes = header_bytes
        self._headed = False
        self._until_eof = False
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._fault: UpstreamError | None = None

    # --- for the exchange ------------------------------------------------------------------------

    def send(self, request: bytes) -> None:
        """Write a whole request. From here on it may have run."""
        assert self._transport is not None
        self.complete = self._headed = self._until_eof = False
        self.status = self._head_bytes = 0
        self.headers = {}
        self._transport.write(request)

    async def head(self) -> None:
        """Wait for status and headers. Raises `Lost`, `ProtocolFault`."""
        while not self._headed:
            await self._wait()

    def header(self, name: bytes) -> str:
        """The first header of this lower-case name, or ""."""
        return self.headers.get(name, b"").decode("latin-1")

    async def read(self) -> bytes:
        """The next piece of the body, b"" after its end. Raises `Lost`, `ProtocolFault`."""
        while not self._pieces:
            if self.complete:
                return b""
            await self._wait()
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return piece

    @property
    def open(self) -> bool:
        """Whether the other side has not closed it."""
        return self._transport is not None and not self._transport.is_closing()

    def release(self) -> bool:
        """The exchange is over: True when the connection can carry another, else it is closed."""
        self._pieces.clear()
        self._buffered = 0
        if self.complete and self.reusable and self._fault is None and self.open:
            self.free_since = clock.monotonic()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Close it now; whatever is under way is cancelled by that."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def _wait(self) -> asyncio.Future[None]:
        if self._fault is not None:
            raise self._fault
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, fault: UpstreamError) -> None:
        if self._fault is None:
            self._fault = fault
        self._wake()

    # --- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self.abort()
            return
        if not self._headed:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ProtocolFault("The upstream answered something that is not HTTP."))
            self.abort()
            return
        if not self._headed and self._head_bytes > self._most_head_bytes:
            self._fail(ProtocolFault("The upstream's answer has too many headers."))
            self.abort()
        elif self._buffered > BUFFER_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._parser = None  # it leads back here
        self.reusable = False
        if not self.complete and self._until_eof and error is None:
            self.complete = True
        elif not self.complete:
            self._fail(Lost("The upstream closed the connection before its answer was complete."))
        self._wake()

    # --- httptools -------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # nobody needs trailers, and they have no end
            self.headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers = {}
            return
        self.status = status
        self._headed = True
        self._until_eof = not self._parser.should_keep_alive() and b"content-length" not in self.headers
        if self._until_eof and b"transfer-encoding" in self.headers:
            self._until_eof = False

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self._headed:
            self.complete = True
            self.reusable = self.reusable and self._parser.should_keep_alive()
