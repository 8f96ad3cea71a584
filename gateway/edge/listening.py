"""GET streams of handshake sessions: the own one, and the rest of one that was lost, whichever process keeps it.

What followed a lost event is kept by the process that said it, and its id names that process. The rest of a call
stays there and is passed on from it; a session's own stream moves here, with what was missed of it.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from gateway.edge.incoming import Incoming
from gateway.edge.outlet import Outlet
from gateway.edge.places import Places
from gateway.edge.pulse import Pulse
from gateway.edge.serving import still_allowed
from gateway.edge.trails import OPEN, POLLING, Event, Kind, Trails, read_event_id
from gateway.errors import INVALID_REQUEST, Refused, refused
from gateway.sessions import LiveSession, Sessions
from gateway.types import GatewayCore
from mcphub.core import clock
from mcphub.core.aio import cancel, spawn
from mcphub.core.packing import pack, unpack
from mcphub.core.workers import AnswerLost, Line, NotTaken, Workers

LAST_EVENT: Final = b"last-event-id"
SUBJECT: Final = "lost-stream"

_messages: Final = msgspec.msgpack.Decoder(list[bytes])


class Lost(msgspec.Struct):
    """A stream of a session that its client comes back to, at another process than the one that keeps it."""

    session: str
    kind: Kind
    token: str
    number: int


class FarStream:
    """What carries a trail to a client at another process (`gateway.edge.trails.Carrier`)."""

    def __init__(self, line: Line) -> None:
        self.left = False
        self.over: Final = asyncio.Event()
        self._line = line

    def put(self, text: bytes) -> None:
        self._line.say(text)

    def dismiss(self) -> None:
        self.over.set()

    def retire(self) -> None:
        self.left = True
        self.over.set()


class Listening:
    """The GET streams of this process."""

    def __init__(
        self, core: GatewayCore, sessions: Sessions, pulse: Pulse, places: Places, trails: Trails, workers: Workers
    ) -> None:
        self._core = core
        self._sessions = sessions
        self._pulse = pulse
        self._places = places
        self._trails = trails
        self._workers = workers
        workers.answer(SUBJECT, self._asked)

    async def listen(self, incoming: Incoming, session: LiveSession) -> None:
        """Answer with the stream that the client asks for; a newer one replaces the one before. Raises `Refused`."""
        outlet = incoming.outlet
        with self._places.hold(incoming.principal.id):
            last = incoming.headers.get(LAST_EVENT)
            event = None if last is None else read_event_id(session.ref, last.decode("latin-1"))
            outlet.sse = True
            outlet.still_allowed = lambda: self._may_listen(incoming, session)
            if event is None or event.kind == "news":
                await self._news(incoming, session, event)
            elif event.worker == self._workers.own:
                await self._rest(outlet, event)
            else:
                await self._rest_from(outlet, session, event)
        await outlet.end_stream()

    async def _news(self, incoming: Incoming, session: LiveSession, event: Event | None) -> None:
        """The session's own stream. When what was missed is not kept any more, it begins anew."""
        outlet = incoming.outlet
        session.principal = incoming.principal
        gone = asyncio.Event()
        outlet.on_leave = gone.set
        kept = None if event is None else self._trails.find(event.token, event.number)
        self._sessions.open_stream(session, outlet)
        if kept is None:
            outlet.begin_trail = partial(self._trails.begin, session.ref, "news")
            outlet.put(OPEN)
        else:
            outlet.trail = kept[0]
            outlet.trail.go_on(outlet, kept[1])
        trail = session.missed = outlet.trail
        try:
            if kept is None and event is not None and event.worker != self._workers.own:
                for message in await self._missed_elsewhere(session, event):
                    outlet.event(message)
            await self._until(outlet, gone)
        finally:
            if session.stream is outlet:
                session.stream = None
            if trail is not None and trail.to is outlet:
                trail.ended_at = clock.monotonic()
                trail.part(outlet)

    async def _missed_elsewhere(self, session: LiveSession, event: Event) -> list[bytes]:
        """What another process has said to this session since, or would have; nothing when it is gone."""
        lost = Lost(session.ref.id, event.kind, event.token, event.number)
        try:
            return _messages.decode(await self._workers.ask(event.worker, SUBJECT, pack(lost)))
        except (NotTaken, AnswerLost):
            return []

    async def _rest(self, outlet: Outlet, event: Event) -> None:
        """What followed on the stream of a call, and what comes, until its answer."""
        kept = self._trails.find(event.token, event.number)
        if kept is None:
            raise not_kept()
        gone = asyncio.Event()
        outlet.on_leave = gone.set
        outlet.trail, missed = kept
        outlet.polls = outlet.trail.polls
        outlet.trail.go_on(outlet, missed)
        if outlet.trail.ended_at is None:
            await self._until(outlet, gone)

    async def _rest_from(self, outlet: Outlet, session: LiveSession, event: Event) -> None:
        """The same as another process passes it on. A client that leaves can come back once more."""
        gone = asyncio.Event()
        outlet.on_leave = gone.set
        outlet.polls = session.ref.revision in POLLING
        passing = spawn(self._pass_on(outlet, session, event), name="lost-stream")
        try:
            await self._until(outlet, gone)
        finally:
            await cancel(passing)
        if not outlet.begun:
            raise not_kept()

    async def _pass_on(self, outlet: Outlet, session: LiveSession, event: Event) -> None:
        def use(line: Line) -> None:
            line.heard = outlet.put

        lost = Lost(session.ref.id, event.kind, event.token, event.number)
        with suppress(NotTaken, AnswerLost):
            await self._workers.ask(event.worker, SUBJECT, pack(lost), use)
        outlet.dismiss()

    async def _asked(self, line: Line, body: bytes) -> bytes:
        """A client came back to another process for what is kept here."""
        lost = unpack(body, Lost)
        if lost.kind == "news":
            self._sessions.close_stream(lost.session)
        kept = self._trails.find(lost.token, lost.number)
        if lost.kind == "news":
            return msgspec.msgpack.encode([message for _, message in (kept[1] if kept else ())])
        if kept is not None:
            trail, missed = kept
            far = FarStream(line)
            trail.go_on(far, missed)
            try:
                if trail.ended_at is None:
                    await far.over.wait()
            finally:
                far.left = True
        return b""

    async def _until(self, outlet: Outlet, gone: asyncio.Event) -> None:
        self._pulse.add(outlet)
        try:
            await gone.wait()
        finally:
            self._pulse.discard(outlet)

    def _may_listen(self, incoming: Incoming, session: LiveSession) -> bool:
        if not still_allowed(self._core, incoming):
            return False
        session.principal = incoming.principal
        return True


def not_kept() -> Refused:
    """The client has to begin anew."""
    return refused(404, INVALID_REQUEST, "The events that followed are not kept any more")
