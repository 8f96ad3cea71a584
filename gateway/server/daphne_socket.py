"""Daphne's WebSockets with what they lack: HTTP statuses, every close code, and backpressure both ways."""

import asyncio
from typing import Any, Final

from autobahn.websocket.types import ConnectionDeny
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

from gateway.server.deadline import Deadline
from gateway.server.doors import Doors
from mcphub.core.limits import Limits

WAITING_FRAMES: Final = 16
LOOK_AGAIN_S: Final = 0.02
DENIAL: Final = "websocket.http.response"
POLICY: Final = 1008
TOO_BIG: Final = 1009


class LimitedSocket(WebSocketProtocol):  # type: ignore[misc]  # Daphne is untyped
    """One WebSocket. It is not read while its application is behind, and is cut when its client does not read."""

    factory: "LimitedSocketFactory"

    def connectionMade(self) -> None:
        super().connectionMade()
        self._held = False
        self._denied = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._frames = 0
        self._reading = Deadline(self.factory.loop)
        self._writing = Deadline(self.factory.loop)
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    def connectionLost(self, reason: Any) -> None:
        self.factory.doors.leave(getattr(self.transport.getPeer(), "host", ""))
        super().connectionLost(reason)

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._frames += 1
        if self._frames == 1:
            self._reading.set("message", self.factory.limits.body_s, self._message_too_slow)
        elif self._frames > self.factory.limits.message_frames:
            self._fail_connection(TOO_BIG, "too many frames")

    def _message_too_slow(self) -> None:
        self._fail_connection(POLICY, "the message did not arrive in time")

    def onMessageEnd(self) -> None:
        self._reading.clear()
        self._frames = 0
        super().onMessageEnd()

    def onPing(self, payload: bytes) -> None:
        """Answered only while the client reads."""
        if self._writable.is_set():
            super().onPing(payload)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        if not self._held and self.application_queue.qsize() >= WAITING_FRAMES:
            self._held = True
            self.transport.pauseProducing()
            self.factory.loop.call_later(LOOK_AGAIN_S, self._look)

    def _look(self) -> None:
        if self.application_queue.qsize() >= WAITING_FRAMES:
            self.factory.loop.call_later(LOOK_AGAIN_S, self._look)
        else:
            self._held = False
            self.transport.resumeProducing()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self._reading.clear()
        self._writing.clear()
        self._writable.set()
        super().onClose(wasClean, code, reason)

    def handle_reply(self, message: Any) -> None:
        """Pass on what the application sends; of a denial the status is what can be said."""
        if message["type"] == f"{DENIAL}.start":
            self._denied = True
            denial = ConnectionDeny(message["status"], "Refused")  # type: ignore[no-untyped-call]  # Autobahn's
            self.handshake_deferred.errback(denial)
            del self.handshake_deferred
            self.server.protocol_disconnected(self)
        elif not self._denied:
            super().handle_reply(message)

    def serverClose(self, code: int | None = None) -> None:
        """Close with any code; Autobahn leaves applications only some."""
        self.sendCloseFrame(code=1000 if code is None else code)

    def pauseProducing(self) -> None:
        """The client reads too slowly."""
        self._writable.clear()
        self._writing.set("write", self.factory.limits.write_s, self.transport.abortConnection)

    def resumeProducing(self) -> None:
        """The client has read on."""
        self._writing.clear()
        self._writable.set()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self.resumeProducing()

    async def writable(self) -> None:
        """Wait until the client has read enough, or left."""
        await self._writable.wait()


class LimitedSocketFactory(WebSocketFactory):  # type: ignore[misc]  # Daphne is untyped
    """Makes a `LimitedSocket` for each connection that is upgraded."""

    protocol = LimitedSocket

    def __init__(self, server: Any, limits: Limits, doors: Doors, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, server=None)
        self.limits: Final = limits
        self.doors: Final = doors
        self.loop: Final = loop
        self.setProtocolOptions(
            autoPingTimeout=server.ping_timeout,
            allowNullOrigin=True,
            failByDrop=False,
            openHandshakeTimeout=server.websocket_handshake_timeout,
            maxMessagePayloadSize=limits.body_bytes,
            maxFramePayloadSize=limits.body_bytes,
        )
