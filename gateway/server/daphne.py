"""`up`: Daphne with the limits, the backpressure and the drain that it lacks.

Daphne's own classes stay; four are extended: the channel (one connection: deadlines, size limits), the
request (backpressure), the factory (which makes them) and the server (start, drain, stop).
"""

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from daphne import server as daphne_server  # first of all: it installs the asyncio reactor of Twisted
from daphne.http_protocol import HTTPFactory, WebRequest
from OpenSSL import SSL
from twisted.internet import defer, reactor
from twisted.internet.ssl import ContextFactory
from twisted.logger import globalLogBeginner
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.http import HTTPChannel

from gateway.server.daphne_socket import DENIAL, LimitedSocket, LimitedSocketFactory
from gateway.server.deadline import Deadline
from gateway.server.doors import Doors
from gateway.server.drain import App, Drain, Message
from gateway.server.refusals import LINGER_BYTES, LINGER_S, refusal, target_path
from mcphub.core.limits import Limits

reactor.seconds = time.monotonic
"""Twisted's timers go by the date: put forward, it ended every idle connection, perhaps under a request."""

KEEP_ALIVE_S: Final = 75
FLUSH_S: Final = 3
LEFT_CLIENT_S: Final = 3600
"""How long an application may go on after its client left; the gateway's own limits end it before."""


VERSIONS: Final = frozenset({b"HTTP/1.0", b"HTTP/1.1"})
OWN_HEADER: Final = b"daphne-root-path"
"""Tells Daphne where an application is mounted, whoever sends it."""


class LimitedChannel(HTTPChannel):  # type: ignore[misc]  # Twisted is untyped here
    """One connection. Header, body and write deadlines; 413 and 431 before more is read; what two readers could
    understand differently is refused.
    """

    limits: Limits
    factory: "LimitedFactory"

    def __init__(self) -> None:
        super().__init__()
        self.totalHeadersSize = self.limits.header_bytes
        self.MAX_LENGTH = self.limits.header_bytes
        self.refused = False
        self._source = ""
        self._dropped = 0
        loop = reactor._asyncioEventloop
        self._closed: Final[asyncio.Future[None]] = loop.create_future()
        self._reading: Final = Deadline(loop)
        self._writing: Final = Deadline(loop)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.channels.add(self)
        self._source = getattr(self.transport.getPeer(), "host", "")
        if status := self.factory.doors.enter(self._source):
            self.refuse(status)
        else:
            self._reading.set("head", self.limits.header_s, self._read_too_slow)

    def connectionLost(self, reason: Any) -> None:
        self.factory.doors.leave(self._source)
        self._reading.clear()
        self._writing.clear()
        self.detach()
        super().connectionLost(reason)

    def detach(self) -> None:
        """Forget the connection: it is closed, or speaks WebSocket from now on."""
        self.factory.channels.discard(self)
        if not self._closed.done():
            self._closed.set_result(None)

    def close(self) -> asyncio.Future[None]:
        """Close when everything written has left; the future is done when the connection is gone."""
        self.loseConnection()
        return self._closed

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            self._drop(data)
            return
        if not self._reading.about and not self._handlingRequest:
            self._reading.set("head", self.limits.header_s, self._read_too_slow)
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if self.refused:
            return
        if line[:1] in (b" ", b"\t"):
            self.refuse(400)  # a folded header (RFC 9112 section 5.2)
        elif self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.refuse(431)
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431)

    def rawDataReceived(self, data: bytes) -> None:
        if not self.refused:
            super().rawDataReceived(data)

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        known = name.lower()
        if known == b"transfer-encoding" and value.strip(b" \t").lower() != b"chunked":
            self.refuse(501)
        elif self._receivedHeaderCount >= self.limits.headers:
            self.refuse(431)
        elif known != OWN_HEADER:
            return bool(super().headerReceived(line))
        return not self.refused

    def allHeadersReceived(self) -> None:
        if self.refused:
            return
        self._reading.set("body", self.limits.body_s, self._read_too_slow)
        if status := self._fault():
            self.refuse(status)
        else:
            super().allHeadersReceived()

    def _fault(self) -> int:
        """The status with which to refuse a request for its head; 0 when there is nothing against it."""
        if self._version not in VERSIONS:
            return 505
        if self.length is not None and self.length > self.limits.body_bytes:
            return 413
        if self.length is None and self._version == b"HTTP/1.0":
            return 400
        hosts = self.requests[-1].requestHeaders.getRawHeaders(b"host") or [b""]
        path = target_path(self._path, hosts[0])  # type: ignore[has-type]  # Twisted's, see above
        if path is None:
            return 400
        self._path = path
        return 0

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400)

    def allContentReceived(self) -> None:
        if not self.refused:
            self._reading.clear()
            super().allContentReceived()

    def refuse(self, status: int) -> None:
        """Answer by ourselves, read and drop what still comes for a moment, end the connection."""
        if self.refused:
            return
        self.refused = True
        self.transport.write(refusal(status))
        if not self.isSecure():
            self.transport.loseWriteConnection()
        self._reading.set("linger", LINGER_S, self.transport.abortConnection)

    def _drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self.transport.abortConnection()

    def _read_too_slow(self) -> None:
        self.refuse(408)

    def pauseProducing(self) -> None:
        super().pauseProducing()
        if not self._writing.about:
            self._writing.set("write", self.limits.write_s, self.transport.abortConnection)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._writing.clear()


class LimitedRequest(WebRequest):  # type: ignore[misc]  # Daphne is untyped
    """One request. Its application waits in `send` while the client does not read.

    Twisted would parse forms a second time, and for that the media type of every POST as if it were a mail's header:
    a sixth of what a call costs here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, parsePOSTFormSubmission=False)
        self._received = 0
        self._writable = asyncio.Event()
        self._writable.set()

    def handleContentChunk(self, data: bytes) -> None:
        if self.channel.refused:
            return
        self._received += len(data)
        if self._received <= self.channel.limits.body_bytes:
            super().handleContentChunk(data)
        else:
            self.channel.refuse(413)

    def process(self) -> Any:
        if (self.getHeader(b"upgrade") or b"").lower() == b"websocket":
            self.channel.detach()
        else:
            self.channel.registerProducer(self, True)
        return super().process()

    def finish(self) -> None:
        self._writable.set()
        self.channel.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        self._writable.set()
        super().connectionLost(reason)

    def pauseProducing(self) -> None:
        self._writable.clear()

    def resumeProducing(self) -> None:
        self._writable.set()

    def stopProducing(self) -> None:
        self._writable.set()

    def application_ended(self, done: "asyncio.Future[None]") -> None:
        """A response that it left without an end is none: the client must not wait for the rest."""
        if not (self.finished or self._disconnected or done.cancelled() or done.exception()):
            self.channel.transport.abortConnection()

    async def writable(self) -> None:
        """Wait until the client has read enough, or left."""
        await self._writable.wait()


class LimitedFactory(HTTPFactory):  # type: ignore[misc]  # Daphne is untyped
    """Makes a channel for each connection and knows those that are open."""

    def __init__(self, server: "DrainingServer", limits: Limits, doors: Doors) -> None:
        super().__init__(server)
        self.doors: Final = doors
        self.channels: Final[set[LimitedChannel]] = set()
        self.protocol = type("Channel", (LimitedChannel,), {"limits": limits})
        self.timeOut = KEEP_ALIVE_S

    def buildProtocol(self, addr: Any) -> LimitedChannel:
        channel: LimitedChannel = super().buildProtocol(addr)
        channel.requestFactory = LimitedRequest
        return channel

    def log(self, request: Any) -> None:
        """Nothing: it would make a line of Twisted's access log for `_drop`."""

    def acceptableProtocols(self) -> list[bytes]:
        """Only HTTP/1.1 in the TLS handshake: the limits above know no other."""
        return [b"http/1.1"]


Hook = Callable[[], Awaitable[None]]


class DrainingServer(daphne_server.Server):  # type: ignore[misc]  # Daphne is untyped
    """Runs `on_start`, accepts, and on SIGTERM or SIGINT drains, runs `on_stop` and returns from `run`."""

    def __init__(
        self, app: App, drain: Drain, limits: Limits, doors: Doors, sock: socket.socket, on_start: Hook, on_stop: Hook
    ) -> None:
        super().__init__(
            drain.guard(app),
            endpoints=["adopted"],
            signal_handlers=False,
            server_name="",
            application_close_timeout=LEFT_CLIENT_S,
        )
        self._limits: Final = limits
        self._doors: Final = doors
        self._drain: Final = drain
        self._socket: Final = sock
        self._on_start: Final = on_start
        self._on_stop: Final = on_stop
        self._signal: Final = asyncio.Event()

    def run(self, certfile: str | None = None, keyfile: str | None = None) -> None:
        """Serve until a signal. Raises what `on_start` raised. Call it once, in the main thread."""
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = LimitedFactory(self, self._limits, self._doors)
        loop = reactor._asyncioEventloop
        self.ws_factory = LimitedSocketFactory(self, self._limits, self._doors, loop)
        factory = _with_tls(self.http_factory, certfile, keyfile) if certfile else self.http_factory
        globalLogBeginner.beginLoggingTo([_drop], redirectStandardIO=False, discardBuffer=True)
        asyncio.set_event_loop(loop)
        main = loop.create_task(self._main(factory), name="daphne")
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)
        reactor.run(installSignalHandlers=False)
        if main.done() and (error := main.exception()) is not None:
            raise error

    async def _main(self, factory: Any) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        try:
            await self._on_start()
            reactor.callLater(1, self.application_checker)
            port = reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, factory)
            await self._signal.wait()
            await self._drain.complete()
            port.stopListening()
            await self._flush()
        finally:
            await self._on_stop()
            self.stop()

    def _signalled(self) -> None:
        if self._signal.is_set():
            self._drain.hurry()
        self._signal.set()

    async def _flush(self) -> None:
        """Close every connection once what was written to it has left, at most `FLUSH_S`."""
        closed = [channel.close() for channel in self.http_factory.channels]
        if closed:
            await asyncio.wait(closed, timeout=FLUSH_S)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application for one request or WebSocket, and watch for its end.

        A WebSocket may be refused with an HTTP status.
        """
        if scope["type"] == "websocket":
            scope["extensions"] = {DENIAL: {}}
        queue = super().create_application(protocol, scope)
        if isinstance(protocol, LimitedRequest) and queue is not None:
            running = self.connections[protocol]["application_instance"]
            running.add_done_callback(protocol.application_ended)
        return queue

    async def handle_reply(self, protocol: Any, message: Message) -> None:
        """Pass on what the application sends, and hold it back while the client does not read."""
        await super().handle_reply(protocol, message)
        if isinstance(protocol, LimitedRequest | LimitedSocket):
            await protocol.writable()

    def kill_all_applications(self) -> Any:
        """Cancel the applications that are still running; the reactor waits until they ended."""
        tasks = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details and not details["application_instance"].done()
        ]
        for task in tasks:
            task.cancel()
        return defer.Deferred.fromFuture(asyncio.gather(*tasks, return_exceptions=True)) if tasks else None


class _Tls(ContextFactory):  # type: ignore[misc]  # Twisted is untyped here
    """TLS 1.2 and newer with the whole certificate chain of a PEM file."""

    def __init__(self, certfile: str, keyfile: str) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.use_certificate_chain_file(certfile)
        self._context.use_privatekey_file(keyfile)
        self._context.check_privatekey()

    def getContext(self) -> SSL.Context:
        return self._context


def _with_tls(factory: LimitedFactory, certfile: str, keyfile: str | None) -> TLSMemoryBIOFactory:
    return TLSMemoryBIOFactory(_Tls(certfile, keyfile or certfile), False, factory)


def _drop(event: Any) -> None:
    """Twisted's own log: errors of applications are logged by Daphne through `logging`."""
