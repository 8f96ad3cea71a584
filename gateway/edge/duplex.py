"""One connection that carries the messages of one handshake session both ways (HTTP+SSE, WebSocket)."""

import asyncio
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import structlog

from gateway.edge.failing import error_text
from gateway.edge.handshake import HandshakeEra
from gateway.edge.incoming import Caller
from gateway.edge.line import Line
from gateway.eras.handshake import batch_text, split_batch
from gateway.eras.jsonrpc import id_text, kind_of
from gateway.errors import INVALID_REQUEST, RATE_LIMITED, Refused, refused
from gateway.server.drain import drain
from gateway.sessions import LiveSession
from gateway.types import Unavailable
from mcphub.core.aio import cancel, spawn
from upstreams.errors import RpcError

log = structlog.get_logger(__name__)

Joined = Callable[[list[bytes]], bytes]
"""Makes one message of responses."""


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
        self._under_way = 0
        self._closing = False

    async def take(self, message: Any, size: int) -> None:
        """Act on one message or batch, or begin to. Raises `Refused` for what is none, or comes out of turn."""
        if isinstance(message, list):
            await self._take_batch(message, size)
            return
        kind = kind_of(message)
        if kind == "request" and self._session is not None:
            self._begin([message], size, itemgetter(0))
        elif kind == "request":
            self._line.event(await self._response(message, size))
        else:
            await self._era.take(self.caller, self._begun(), message)

    async def _take_batch(self, messages: list[Any], size: int) -> None:
        session = self._begun()
        requests, others = split_batch(messages, session.ref.revision)
        for message in others:
            await self._era.take(self.caller, session, message)
        if requests:
            self._begin(requests, size, batch_text)

    def _begun(self) -> LiveSession:
        if self._session is None:
            raise refused(400, INVALID_REQUEST, "The conversation begins with initialize")
        return self._session

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

    def _begin(self, requests: list[dict[str, Any]], size: int, joined: Joined) -> None:
        """Answer these with what `joined` makes of the responses, in a task of its own."""
        limit = self._line.limits.connection_requests
        if self._closing:
            self._refuse(requests, joined, RpcError(INVALID_REQUEST, "This connection is about to be closed"))
        elif self._under_way + len(requests) > limit:
            self._refuse(requests, joined, RpcError(RATE_LIMITED, f"{limit} requests at once are all it may carry"))
        else:
            self._under_way += len(requests)
            task = spawn(self._answer(requests, size, joined), name="edge-duplex-request")
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._closing and not self._tasks:
            self._on_over()

    def _refuse(self, requests: list[dict[str, Any]], joined: Joined, error: RpcError) -> None:
        self._line.event(joined([error_text(id_text(message["id"]), error) for message in requests]))

    async def _answer(self, requests: list[dict[str, Any]], size: int, joined: Joined) -> None:
        try:
            if len(requests) == 1:
                bodies = [await self._response(requests[0], size)]
            else:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._response(message, size)) for message in requests]
                bodies = [task.result() for task in tasks]
            self._line.event(joined(bodies))
        finally:
            self._under_way -= len(requests)

    async def _response(self, message: dict[str, Any], size: int) -> bytes:
        try:
            return await self._body(message, size)
        except Refused as refusal:
            return error_text(id_text(message["id"]), refusal.error)
        except Unavailable as unavailable:
            return error_text(id_text(message["id"]), unavailable.error)

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
