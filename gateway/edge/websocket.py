"""MCP over WebSocket: one JSON-RPC message per text frame, handshake era, on every MCP path."""

import asyncio
from typing import Any, Final

import structlog

from gateway.edge.body import Receive
from gateway.edge.duplex import Duplex
from gateway.edge.failing import error_text
from gateway.edge.handshake import HandshakeEra
from gateway.edge.incoming import Caller
from gateway.edge.pulse import Beating, Pulse
from gateway.edge.serving import still_allowed
from gateway.edge.stream import Queue, Send
from gateway.errors import PARSE_ERROR, Header, Refused
from gateway.server.drain import drain
from gateway.types import GatewayCore, Unavailable
from mcphub.core.aio import spawn
from mcphub.core.limits import Limits
from mcphub.core.strictjson import BadJson, loads
from upstreams.errors import RpcError

SUBPROTOCOL: Final = "mcp"
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
NOT_TEXT: Final = 1003
NOT_ALLOWED: Final = 1008
TOO_LARGE: Final = 1009
TRY_LATER: Final = 1013

log = structlog.get_logger(__name__)


class Frames(Queue):
    """Messages on their way out, each a frame."""

    async def write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            await self.send({"type": "websocket.send", "text": chunk.decode()})


class Socket:
    """One WebSocket that was let in. It is a `gateway.edge.line.Line`, and beats with the pulse."""

    sse = True

    def __init__(self, core: GatewayCore, era: HandshakeEra, caller: Caller, send: Send, limits: Limits) -> None:
        self.limits = limits
        self.headers: tuple[Header, ...] = ()
        self.left = False
        self.home: set[Beating] | None = None
        self._core = core
        self._caller = caller
        self._send = send
        self._frames = Frames(send, limits, self._cut)
        self._duplex = Duplex(era, caller, self, self._over)
        self._closing: asyncio.Task[None] | None = None

    async def serve(self, receive: Receive, pulse: Pulse, offered: Any) -> None:
        """Accept, and take frames until one side ends it."""
        await self._send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if SUBPROTOCOL in offered else None})
        pulse.add(self)
        try:
            while (event := await receive())["type"] == "websocket.receive":
                await self._frame(event.get("text"))
        finally:
            self.left = True
            pulse.discard(self)
            self._frames.close()
            await self._duplex.end()

    async def _frame(self, text: str | None) -> None:
        if text is None:
            self.close(NOT_TEXT)
            return
        body = text.encode()
        if len(body) > self.limits.body_bytes:
            self.close(TOO_LARGE)
            return
        try:
            message = loads(body)
            await self._core.fresh()
            if self.still_allowed():
                await self._duplex.take(message, len(body))
            else:
                self.close(NOT_ALLOWED)
        except BadJson as error:
            self.event(error_text(b"null", RpcError(PARSE_ERROR, f"Parse error: {error}")))
        except Refused as refusal:
            self.event(error_text(b"null", refusal.error))
        except Unavailable as unavailable:
            self.event(error_text(b"null", unavailable.error))
            self.close(TRY_LATER)

    def still_allowed(self) -> bool:
        """Whether the key still opens this endpoint."""
        allowed = still_allowed(self._core, self._caller)
        self._duplex.follow(self._caller)
        return allowed

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the client that news had better not be added to it."""
        return self._frames.crowded

    def event(self, message: bytes) -> None:
        """Send one message."""
        if not self.left:
            self._frames.put(message)

    def settle(self, now: float) -> None:
        """Nothing to do: the server tells when the client leaves."""

    def beat(self, now: float) -> None:
        """End when the key was taken back. Pings are the server's."""
        if not self.still_allowed():
            self.close(NOT_ALLOWED)

    def dismiss(self) -> None:
        """End: the session was ended, or the hub goes down."""
        self._duplex.dismiss()

    def close(self, code: int) -> None:
        """Say what waits, then goodbye; nothing that comes after is heard."""
        if self._closing is None and not self.left:
            self._closing = spawn(self._close(code), name="edge-socket-close")

    async def _close(self, code: int) -> None:
        await self._frames.drained()
        self.left = True
        try:
            await self._send({"type": "websocket.close", "code": code})
        except OSError:
            return

    def _over(self) -> None:
        self.close(GOING_AWAY if drain().refusing.is_set() else NORMAL)

    def _cut(self) -> None:
        self.left = True
        self._closing = spawn(self._close(TRY_LATER), name="edge-socket-cut")


async def deny(send: Send, refusal: Refused) -> None:
    """Refuse before accepting, with an HTTP status (ASGI's WebSocket denial response)."""
    body = error_text(b"null", refusal.error)
    headers = [*refusal.headers, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
