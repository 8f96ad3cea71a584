"""The handshake era: initialize, then messages of a session. POST, GET and DELETE of streamable HTTP."""

import asyncio
from functools import partial
from typing import Any, Final

from gateway.edge.asks import Asks
from gateway.edge.failing import error_text
from gateway.edge.incoming import Caller, Incoming
from gateway.edge.line import Line
from gateway.edge.listening import Listening
from gateway.edge.pulse import Pulse
from gateway.edge.reply import Reply
from gateway.edge.serving import serve
from gateway.edge.trails import Trails
from gateway.eras.handshake import batch_text, greeting, split_batch
from gateway.eras.jsonrpc import id_text, kind_of
from gateway.eras.meta import take_asides
from gateway.eras.methods import ONLY_IN
from gateway.errors import INVALID_REQUEST, METHOD_NOT_FOUND, Refused, refused
from gateway.sessions import LiveSession, Sessions
from gateway.types import GatewayCore, Notification, Request

SESSION_HEADER: Final = b"mcp-session-id"


class HandshakeEra:
    """Answers within sessions. A client that leaves has not cancelled; `notifications/cancelled` does."""

    def __init__(
        self, core: GatewayCore, sessions: Sessions, pulse: Pulse, asks: Asks, trails: Trails, listening: Listening
    ) -> None:
        self._trails = trails
        self._listening = listening
        self._core = core
        self._sessions = sessions
        self._pulse = pulse
        self._asks = asks

    async def post(self, incoming: Incoming, message: Any, size: int) -> None:
        """Answer one message or batch. Raises `Refused`, `Unavailable`."""
        if isinstance(message, list):
            await self._batch(incoming, message, size)
            return
        kind = kind_of(message)
        try:
            if kind == "request" and message["method"] == "initialize":
                await self._initialize(incoming, message, size)
            elif kind == "request":
                await self._single(incoming, await self._session(incoming), message, size)
            else:
                await self.take(incoming, await self._session(incoming), message)
                await incoming.outlet.answer(202)
        except Refused as refusal:
            await incoming.outlet.refuse(refusal, id_text(message["id"]) if kind == "request" else b"null")

    async def listen(self, incoming: Incoming) -> None:
        """A GET stream. Raises `Refused`."""
        await self._listening.listen(incoming, await self._session(incoming))

    async def delete(self, incoming: Incoming) -> None:
        """End the session."""
        await self._sessions.end(await self._session(incoming))
        await incoming.outlet.answer(204)

    async def _session(self, incoming: Incoming) -> LiveSession:
        held = incoming.headers.get(SESSION_HEADER)
        if held is None:
            raise refused(400, INVALID_REQUEST, "Mcp-Session-Id is missing; begin with initialize")
        sealed = held.decode("latin-1")
        found = self._sessions.find(sealed, incoming.principal, incoming.route)
        if found is None:
            found = await self._sessions.recall(sealed, incoming.principal, incoming.route)
        if found is None:
            raise refused(404, INVALID_REQUEST, "Session not found")
        return found

    async def _initialize(self, incoming: Incoming, message: dict[str, Any], size: int) -> None:
        outlet = incoming.outlet
        self._pulse.add(outlet)
        try:
            reply, session = await self.begin(incoming, outlet, message, size)
        finally:
            self._pulse.discard(outlet)
        if reply.succeeded:
            outlet.headers += ((SESSION_HEADER, session.sealed.encode()),)
        await outlet.finish(reply.status, reply.body)

    async def begin(
        self, caller: Caller, line: Line, message: dict[str, Any], size: int
    ) -> tuple[Reply, LiveSession]:
        """Answer `initialize`; the session exists when that succeeded. Raises `Refused`, `Unavailable`."""
        revision, client = greeting(message.get("params", {}))
        session = self._sessions.draft(caller.principal, caller.route, revision, client)
        reply = await self.answer(caller, line, session, message, size)
        if reply.succeeded:
            await self._sessions.keep(session)
        return reply, session

    async def end(self, session: LiveSession) -> None:
        """End the session; what is under way in it is cancelled. Raises `Unavailable`."""
        await self._sessions.end(session)

    async def _single(self, incoming: Incoming, session: LiveSession, message: dict[str, Any], size: int) -> None:
        outlet = incoming.outlet
        outlet.begin_trail = partial(self._trails.begin, session.ref, "call")
        self._pulse.add(outlet)
        try:
            reply = await self.answer(incoming, outlet, session, message, size)
        finally:
            self._pulse.discard(outlet)
        await outlet.finish(reply.status, reply.body)

    async def answer(
        self, caller: Caller, line: Line, session: LiveSession, message: dict[str, Any], size: int
    ) -> Reply:
        """Let the core answer one request. What comes before the answer goes on `line`. Raises `Refused`."""
        method = message["method"]
        if ONLY_IN.get(method) == "modern":
            raise refused(200, METHOD_NOT_FOUND, f"Method not found: {method}")
        params = message.get("params", {})
        token, trace = take_asides(params, caller.headers)
        request = Request(
            route=caller.route,
            principal=caller.principal,
            era="handshake",
            revision=session.ref.revision,
            id=message["id"],
            method=method,
            params=params,
            client=session.ref.client,
            session=session.ref,
            progress_token=token,
            source=caller.source,
            received_bytes=size,
            trace=trace,
            headers=self._core.carried(caller.principal.org.id, caller.headers),
        )
        reply = Reply(line, "handshake", request.id, token, self._asks, session.ref.id)
        session.replies[reply] = None
        try:
            await serve(self._core, request, reply)
        finally:
            del session.replies[reply]
        return reply

    async def take(self, caller: Caller, session: LiveSession, message: dict[str, Any]) -> None:
        """Act on a notification or a response. Raises `Refused` for a response that the hub never asked for."""
        if "method" not in message:
            if not await self._asks.answer(session.ref.id, message):
                raise refused(400, INVALID_REQUEST, "The hub has sent no request with this id")
            return
        params = message.get("params", {})
        if message["method"] == "notifications/cancelled":
            self._sessions.cancel(session, params.get("requestId"))
            return
        note = Notification(caller.route, caller.principal, "handshake", message["method"], params, session.ref)
        await self._core.notified(note)

    async def _batch(self, incoming: Incoming, messages: list[Any], size: int) -> None:
        session = await self._session(incoming)
        requests, others = split_batch(messages, session.ref.revision)
        for message in others:
            await self.take(incoming, session, message)
        if not requests:
            await incoming.outlet.answer(202)
            return
        incoming.outlet.begin_trail = partial(self._trails.begin, session.ref, "call")
        bodies = await self._all(incoming, session, requests, size)
        outlet = incoming.outlet
        if outlet.stream is None:
            await outlet.finish(200, batch_text(bodies))
            return
        for body in bodies[:-1]:
            outlet.event(body)
        await outlet.finish(200, bodies[-1])

    async def _all(
        self, incoming: Incoming, session: LiveSession, requests: list[dict[str, Any]], size: int
    ) -> list[bytes]:
        self._pulse.add(incoming.outlet)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(incoming, session, message, size)) for message in requests]
        finally:
            self._pulse.discard(incoming.outlet)
        return [task.result() for task in tasks]

    async def _one(self, incoming: Incoming, session: LiveSession, message: dict[str, Any], size: int) -> bytes:
        try:
            return (await self.answer(incoming, incoming.outlet, session, message, size)).body
        except Refused as refusal:
            return error_text(id_text(message["id"]), refusal.error)
