"""Handshake sessions: found in memory, else by their row. A client's id opens only for its principal and route."""

import asyncio
import hashlib
import heapq
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from msgspec.structs import replace

from gateway.edge.line import Line
from gateway.edge.reply import Reply
from gateway.eras.jsonrpc import dumps, notification_text, same_id
from gateway.errors import RATE_LIMITED, refused
from gateway.failures import NOT_STORED, unavailable
from gateway.models import Session
from gateway.types import Route, SessionRef
from mcphub.core import clock
from mcphub.core.aio import in_thread
from mcphub.core.env import storage_s
from mcphub.core.ids import new_uuid
from mcphub.core.keyring import KeyringError, keyring
from mcphub.core.limits import Limits
from mcphub.core.principal import Principal
from upstreams.types import ClientFacts

PURPOSE: Final = "session"
DIGEST_BYTES: Final = 8
SWEEP_S: Final = 2.5
FORGET_AFTER: Final = timedelta(minutes=10)
SETTLED: Final = timedelta(seconds=60)
"""How far back a worker looks for sessions that another one ended: more than clocks may differ and sweeps may lag."""
CHUNK: Final = 500
CHUNKS: Final = 20
RETRY: Final = ((b"retry-after", b"60"),)

log = structlog.get_logger(__name__)


Tell = Callable[[str, str, Mapping[str, Any]], None]
"""Lets the other web processes know what happened to which session (`gateway.neighbours`)."""


class Keeper(Protocol):
    """What keeps what a session is told while its client is away (`gateway.edge.trails.Trail`)."""

    def say(self, message: bytes) -> None:
        """Keep one message."""


class LiveSession:
    """A session as this process knows it. `sealed` is what the client holds; `ref.id` is for everybody else."""

    __slots__ = ("active_at", "flushed_at", "missed", "principal", "ref", "replies", "route", "sealed", "stream")

    def __init__(self, sealed: str, ref: SessionRef, principal: Principal, route: Route) -> None:
        self.sealed = sealed
        self.ref = ref
        self.principal = principal
        self.route = route
        self.active_at = self.flushed_at = clock.monotonic()
        self.replies: dict[Reply, None] = {}
        self.stream: Line | None = None
        self.missed: Keeper | None = None

    def cancel(self, request_id: Any) -> bool:
        """Call off the request with this id; False when there is none here.

        Two requests under one id cannot be told apart: neither is touched.
        """
        named = [reply for reply in self.replies if same_id(reply.id, request_id)]
        if len(named) == 1:
            named[0].cancel()
        return bool(named)

    def push(self, method: str, params: Mapping[str, Any]) -> bool:
        """Send a notification on the session's GET stream; False when none is open here.

        Where the last one was, it is kept for a client that comes back.
        """
        message = notification_text(method, params)
        if self.stream is not None and not self.stream.left:
            self.stream.event(message)
            return True
        if self.missed is not None:
            self.missed.say(message)
        return False


class Sessions:
    """The handshake sessions of this process. `on_ended` hears the id of each one that ended, here or elsewhere."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[str, LiveSession] = {}
        self._by_id: dict[str, LiveSession] = {}
        self._flush_due = 0.0
        self._heard_of: set[str] = set()
        self.on_ended: list[Callable[[str], None]] = []
        self.tell: Tell = _nobody

    def __len__(self) -> int:
        return len(self._known)

    def draft(self, principal: Principal, route: Route, revision: str, client: ClientFacts) -> LiveSession:
        """A session that nobody knows yet; `keep` makes it one."""
        id_ = new_uuid()
        plain = id_.bytes + _digest(revision, _text(client))
        sealed = keyring().seal(PURPOSE, plain, _bound_to(principal, route))
        return LiveSession(sealed, SessionRef(id_.hex, revision, client), principal, route)

    async def keep(self, session: LiveSession) -> None:
        """Store it, so that every worker finds it. Raises `Unavailable`, `Refused` (too many of its principal)."""
        ref = session.ref
        row = Session(
            id=uuid.UUID(ref.id),
            principal=session.principal.id,
            org_id=session.principal.org.id,
            path=session.route.path,
            revision=ref.revision,
            client=_text(ref.client),
            active_at=clock.now(),
        )
        limit = self._limits.principal_sessions
        if not await _stored(_begun, row, limit):
            raise refused(
                429, RATE_LIMITED, f"{limit} sessions of this principal are open; end some with DELETE", RETRY
            )
        self._remember(session)

    def find(self, sealed: str, principal: Principal, route: Route) -> LiveSession | None:
        """The session if this process knows it and it is this principal's, on this route."""
        session = self._known.get(sealed)
        if session is None:
            return None
        own = session.principal
        if own.id != principal.id or own.org.id != principal.org.id or session.route.bound != route.bound:
            return None
        now = clock.monotonic()
        if now - session.active_at > self._limits.session_idle_s:
            self._forget(session)
            return None
        session.active_at = now
        return session

    async def recall(self, sealed: str, principal: Principal, route: Route) -> LiveSession | None:
        """The session from its row; None when the id is no id, another's, or ended. Raises `Unavailable`."""
        try:
            plain = keyring().open(PURPOSE, sealed, _bound_to(principal, route))
        except KeyringError:
            return None
        id_ = uuid.UUID(bytes=plain[:16])
        row = await _stored(_living, id_, self._limits.session_idle_s)
        if row is None:
            return None
        if _digest(row.revision, row.client) != plain[16:]:
            return None
        if (known := self.find(sealed, principal, route)) is not None:
            return known  # another request of the session was quicker; there is one of it, and its stream hangs on it
        client = ClientFacts(**json.loads(row.client), log_level=row.log_level, era="handshake")
        session = LiveSession(sealed, SessionRef(id_.hex, row.revision, client), principal, route)
        self._remember(session)
        return session

    async def end(self, session: LiveSession) -> None:
        """End it everywhere: in other workers with their next sweep if they are not told. Raises `Unavailable`."""
        await _stored(_end, [uuid.UUID(session.ref.id)])
        self._ended(session)
        self.tell("ended", session.ref.id, {})

    async def set_log_level(self, session_id: str, level: str) -> None:
        """What `logging/setLevel` asked for. Raises `Unavailable`."""
        if self.note_log_level(session_id, level):
            self.tell("level", session_id, {"level": level})
            await _stored(Session.objects.filter(id=uuid.UUID(session_id)).update, log_level=level)

    def note_log_level(self, session_id: str, level: str) -> bool:
        """Let it hold for the requests that come; False for a session that is not known here."""
        session = self._by_id.get(session_id)
        if session is None:
            return False
        ref = session.ref
        session.ref = replace(ref, client=replace(ref.client, log_level=level))
        return True

    def cancel(self, session: LiveSession, request_id: Any) -> None:
        """Call off a request of the session, in whichever worker it runs."""
        if not session.cancel(request_id):
            self.tell("cancelled", session.ref.id, {"request": request_id})

    def cancel_here(self, session_id: str, request_id: Any) -> None:
        """The same when another worker was told."""
        if (session := self._by_id.get(session_id)) is not None:
            session.cancel(request_id)

    def open_stream(self, session: LiveSession, line: Line) -> None:
        """The session's stream from now on; the one before ends, wherever it is."""
        self.close_stream(session.ref.id)
        session.stream = line
        self.tell("opened", session.ref.id, {})

    def close_stream(self, session_id: str) -> None:
        """A newer stream of the session is open."""
        session = self._by_id.get(session_id)
        if session is not None:
            before, session.stream, session.missed = session.stream, None, None
            if before is not None:
                before.dismiss()

    def has_stream(self, session_id: str) -> bool:
        """Whether the session's stream is open here."""
        session = self._by_id.get(session_id)
        return session is not None and session.stream is not None

    def listed(self, session_id: str, name: str, digest: str) -> None:
        """The session was given a list: whoever has its stream watches it from now on."""
        if not self.has_stream(session_id):
            self.tell("listed", session_id, {"name": name, "digest": digest})

    def push(self, session_id: str, method: str, params: Mapping[str, Any]) -> bool:
        """Send a notification on that session's GET stream; False when this process has none open.

        Another worker that has it sends it then.
        """
        if self.push_here(session_id, method, params):
            return True
        self.tell("pushed", session_id, {"method": method, "params": params})
        return False

    def push_here(self, session_id: str, method: str, params: Mapping[str, Any]) -> bool:
        """The same for a stream of this process alone."""
        session = self._by_id.get(session_id)
        return session is not None and session.push(method, params)

    def ended_elsewhere(self, session_id: str) -> None:
        """Another worker ended it, or its time was over. It need not be known here any more."""
        if (session := self._by_id.get(session_id)) is not None:
            self._ended(session)
        else:
            self._say_ended(session_id)

    def listening(self) -> list[LiveSession]:
        """Sessions with an open GET stream here. Their `principal` is at most some seconds old."""
        return [session for session in self._known.values() if session.stream is not None]

    async def sweep(self) -> None:
        """Flush activity, end what is idle, and drop what ended elsewhere. Raises `Unavailable`."""
        now = clock.monotonic()
        touched: list[LiveSession] = []
        if now >= self._flush_due:
            self._flush_due = now + self._limits.session_flush_s
            touched = [session for session in self._known.values() if self._active_since_flush(session, now)]
            await _tried(_flush, [uuid.UUID(session.ref.id) for session in touched], self._limits.session_idle_s)
        for session in touched:
            session.flushed_at = now
        if self._known:
            ended = {id_.hex for id_ in await _tried(_ended_lately)}
            for session_id in ended - self._heard_of:
                self.ended_elsewhere(session_id)
            self._heard_of = ended

    def _active_since_flush(self, session: LiveSession, now: float) -> bool:
        if session.stream is not None or session.replies:
            session.active_at = now
        return session.active_at > session.flushed_at

    def _remember(self, session: LiveSession) -> None:
        if len(self._known) >= self._limits.sessions:
            self._make_room()
        self._known[session.sealed] = session
        self._by_id[session.ref.id] = session

    def _make_room(self) -> None:
        """Drop the longest idle tenth from memory; their rows stay, so they come back when they are used."""
        idle = (session for session in self._known.values() if session.stream is None and not session.replies)
        for session in heapq.nsmallest(max(1, self._limits.sessions // 10), idle, key=lambda one: one.active_at):
            self._forget(session)

    def _forget(self, session: LiveSession) -> None:
        self._known.pop(session.sealed, None)
        self._by_id.pop(session.ref.id, None)

    def _ended(self, session: LiveSession) -> None:
        self._forget(session)
        for reply in list(session.replies):
            reply.cancel()
        if session.stream is not None:
            session.stream.dismiss()
        self._say_ended(session.ref.id)

    def _say_ended(self, session_id: str) -> None:
        for hear in self.on_ended:
            hear(session_id)


def _nobody(what: str, session_id: str, facts: Mapping[str, Any]) -> None:
    return None


def _bound_to(principal: Principal, route: Route) -> bytes:
    return "\n".join((principal.id, principal.org.id, route.bound)).encode()


def _text(client: ClientFacts) -> str:
    return dumps({"capabilities": client.capabilities, "info": client.info})


def _digest(revision: str, client: str) -> bytes:
    return hashlib.sha256(f"{revision}\n{client}".encode()).digest()[:DIGEST_BYTES]


async def _stored(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a client waits for, in the time that it may wait. Raises `Unavailable`."""
    try:
        async with asyncio.timeout(storage_s(settings.HUB)):
            return await _tried(function, *args, **kwargs)
    except TimeoutError:
        raise unavailable(NOT_STORED) from None


async def _tried(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return await in_thread(function, *args, **kwargs)
    except DatabaseError as error:
        log.warning("session_storage_failed", error=type(error).__name__)
        raise unavailable(NOT_STORED) from error


def _begun(row: Session, limit: int) -> bool:
    """Whether there was room for it: sessions that begin in the same moment may go beyond the limit together."""
    if Session.objects.filter(principal=row.principal, ended_at=None).count() >= limit:
        return False
    row.save(force_insert=True)
    return True


def _living(id_: uuid.UUID, idle_s: float) -> Session | None:
    since = clock.now() - timedelta(seconds=idle_s)
    return Session.objects.filter(id=id_, ended_at=None, active_at__gte=since).first()


def _end(ids: Iterable[uuid.UUID]) -> None:
    Session.objects.filter(id__in=ids, ended_at=None).update(ended_at=clock.now())


def _flush(touched: list[uuid.UUID], idle_s: float) -> None:
    now = clock.now()
    for start in range(0, len(touched), CHUNK):
        Session.objects.filter(id__in=touched[start : start + CHUNK], ended_at=None).update(active_at=now)
    idle = Session.objects.filter(ended_at=None, active_at__lt=now - timedelta(seconds=idle_s))
    idle.update(ended_at=now)
    old = Session.objects.filter(ended_at__lt=now - FORGET_AFTER).order_by("ended_at").values_list("id", flat=True)
    for _ in range(CHUNKS):
        if not Session.objects.filter(id__in=list(old[:CHUNK])).delete()[0]:
            return


def _ended_lately() -> list[uuid.UUID]:
    return list(Session.objects.filter(ended_at__gte=clock.now() - SETTLED).values_list("id", flat=True))
