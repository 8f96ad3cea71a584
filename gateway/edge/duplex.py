"""One connection that carries the messages of one handshake session both ways (HTTP+SSE, WebSocket)."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from gateway.edge.handshake import HandshakeEra
from gateway.edge.incoming import Caller
from gateway.edge.line import Line
from gateway.eras.jsonrpc import error_text, id_text, kind_of
from gateway.errors import INVALID_REQUEST, RATE_LIMITED, Refused, refused
from gateway.server.drain import drain
from gateway.sessions import LiveSession
from gateway.types import Unavailable
from mcphub.core.aio import cancel, spawn
from upstreams.errors import RpcError

log = structlog.get_logger(__name__)


class Duplex:
    """A conversation: it begins with `initialize` and ends with its connection.

    Each request after that is a task of its own; the answer goes out on `line` when it is ready. `on_over` is called
    when the connection should be closed from this side.
    """

    def __init__(self, era: HandshakeEra, caller: Caller, line: Line, on_over: Callable[[], None]) -> None:
        self.caller = caller
        self._era = era
        self._line = line
        self._on_over = on_over
        self._session: LiveSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def take(self, message: Any, size: int) -> None:
        """Act on one message, or begin to. Raises `Refused` for what is none, or comes out of turn."""
        kind = kind_of(message)
        if kind == "request" and self._session is not None:
            self._begin(message, size)
        elif kind == "request":
            await self._request(message, size)
        elif self._session is None:
            raise refused(400, INVALID_REQUEST, "The conversation begins with initialize")
        else:
            await self._era.take(self.caller, self._session, message)

    def follow(self, caller: Caller) -> None:
        """Who asks is now known anew."""
        self.caller = caller
        if self._session is not None:
            self._session.principal = caller.principal

    def dismiss(self) -> None:
        """End soon: at once, or after what is under way when it is the hub that goes down."""
        self._closing = True
        if not self._tasks or self._line.left or not drain().refusing.is_set():
            self._on_over()

    async def end(self) -> None:
        """The connection is gone, and with it the session and whatever is under way."""
        self._closing = True
        if self._session is not None:
            self._session.stream = None
            try:
                await self._era.end(self._session)
            except Unavailable:
                log.warning("session_end_postponed")
        await cancel(*self._tasks)

    def _begin(self, message: dict[str, Any], size: int) -> None:
        limit = self._line.limits.connection_requests
        if self._closing:
            self._refuse(message, RpcError(INVALID_REQUEST, "This connection is about to be closed"))
        elif len(self._tasks) >= limit:
            self._refuse(
                message, RpcError(RATE_LIMITED, f"{limit} requests are under way on this connection already")
            )
        else:
            task = spawn(self._request(message, size), name="edge-duplex-request")
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._closing and not self._tasks:
            self._on_over()

    def _refuse(self, message: dict[str, Any], error: RpcError) -> None:
        self._line.event(error_text(id_text(message["id"]), error))

    async def _request(self, message: dict[str, Any], size: int) -> None:
        try:
            self._line.event(await self._body(message, size))
        except Refused as refusal:
            self._refuse(message, refusal.error)
        except Unavailable as unavailable:
            self._refuse(message, unavailable.error)

    async def _body(self, message: dict[str, Any], size: int) -> bytes:
        if self._session is not None:
            if message["method"] == "initialize":
                raise refused(400, INVALID_REQUEST, "This conversation has begun already")
            return (await self._era.answer(self.caller, self._line, self._session, message, size)).body
        if message["method"] != "initialize":
            raise refused(400, INVALID_REQUEST, "The conversation begins with initialize")
        reply, session = await self._era.begin(self.caller, self._line, message, size)
        if reply.succeeded:
            self._session = session
            session.stream = self._line
        return reply.body
