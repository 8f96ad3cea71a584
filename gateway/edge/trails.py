"""What was said on event streams, kept for a while so that a client that lost one can go on (2025-11-25, transports).

An event id is `{token}.{number}`: the token is sealed to the session and names the stream and the process that keeps
it, the number is the place of the event on it. Everything is bounded: what is kept of a stream, the streams of a
session, and all together.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from gateway.edge.stream import event_text
from gateway.errors import INVALID_REQUEST, refused
from gateway.types import SessionRef
from mcphub.core import clock
from mcphub.core.keyring import KeyringError, keyring
from mcphub.core.limits import Limits

PURPOSE: Final = "event"
WORKER_BYTES: Final = 8
RETRY_MS: Final = 1_000
OPEN: Final = b": open\r\n\r\n"
POLLING: Final = frozenset({"2025-11-25"})
"""Revisions whose clients take an event without data, and come back when the hub closes a stream."""

Kind = Literal["news", "call"]


@dataclass(frozen=True, slots=True)
class Event:
    """What a `Last-Event-ID` names: an event of a stream that `worker` keeps, if it still does."""

    worker: str
    kind: Kind
    token: str
    number: int


class Carrier(Protocol):
    """What takes the events of a trail to the client."""

    @property
    def left(self) -> bool:
        """Whether the client is gone."""

    def put(self, text: bytes) -> None:
        """Write events."""

    def dismiss(self) -> None:
        """The last one was written."""

    def retire(self) -> None:
        """Another carrier goes on."""


class Gone:
    """The carrier of a trail whose client is away."""

    left: Final = True

    def put(self, text: bytes) -> None:
        """Nobody reads."""

    def dismiss(self) -> None:
        """It ended before."""

    def retire(self) -> None:
        """It ended before."""


GONE: Final = Gone()


class Trail:
    """The events of one stream; `to` carries it to the client now, or did last.

    `ended_at` is when its last message was said, or, for news, when the client was last there.
    """

    __slots__ = (
        "_events",
        "_grew",
        "_last",
        "_limit_bytes",
        "ended_at",
        "polls",
        "session_id",
        "size",
        "to",
        "token",
    )

    def __init__(
        self, token: str, session: SessionRef, kind: Kind, to: Carrier, limit_bytes: int, grew: Callable[[int], None]
    ) -> None:
        self.token = token
        self.session_id = session.id
        self.polls = kind == "call" and session.revision in POLLING
        self.to = to
        self.size = 0
        self.ended_at: float | None = None
        self._events: deque[tuple[int, bytes]] = deque()
        self._last = 0
        self._limit_bytes = limit_bytes
        self._grew = grew

    def begin(self) -> bytes:
        """What a stream begins with: an id to come back with, before anything was said."""
        return f"id: {self.token}.0\r\nretry: {RETRY_MS}\r\ndata:\r\n\r\n".encode() if self.polls else b""

    def say(self, message: bytes) -> None:
        """Keep one message, and send it if the client is there."""
        self._last += 1
        if not self.to.left:
            self.to.put(self._text(self._last, message))
        self._events.append((self._last, message))
        before, self.size = self.size, self.size + len(message)
        while self.size > self._limit_bytes:
            self.size -= len(self._events.popleft()[1])
        self._grew(self.size - before)

    def part(self, carrier: Carrier) -> None:
        """This carrier has ended: it is not kept with what it carried, nor the connection behind it."""
        if self.to is carrier:
            self.to = GONE

    def drop(self) -> None:
        """Keep nothing of it, now and later."""
        self._limit_bytes = self.size = 0
        self._events.clear()

    def finish(self, message: bytes) -> None:
        """The last message; a response that carries on for a lost one ends with it."""
        self.say(message)
        self.ended_at = clock.monotonic()
        self.to.dismiss()

    def since(self, number: int) -> list[tuple[int, bytes]] | None:
        """The messages after `number` with theirs; None when some are no longer kept, or there is no such number."""
        first = self._events[0][0] if self._events else self._last + 1
        if not first - 1 <= number <= self._last:
            return None
        return [event for event in self._events if event[0] > number]

    def go_on(self, to: Carrier, missed: list[tuple[int, bytes]]) -> None:
        """Say what was missed, and carry on, over something else; the carrier before ends."""
        to.put(b"".join((OPEN, *(self._text(*event) for event in missed))))
        before, self.to = self.to, to
        if not before.left:
            before.retire()

    def _text(self, number: int, message: bytes) -> bytes:
        return f"id: {self.token}.{number}\r\n".encode() + event_text(message)


class Trails:
    """The trails that the process `worker` keeps, oldest first."""

    def __init__(self, limits: Limits, worker: str) -> None:
        self._limits = limits
        self._worker = bytes.fromhex(worker)
        self._kept: OrderedDict[str, Trail] = OrderedDict()
        self._of: dict[str, list[str]] = {}
        self._size = 0

    def begin(self, session: SessionRef, kind: Kind, to: Carrier) -> Trail:
        """A trail for a stream that begins now."""
        token = keyring().seal(PURPOSE, self._worker + kind.encode(), session.id.encode())
        trail = self._kept[token] = Trail(token, session, kind, to, self._limits.replay_bytes, self._grew)
        own = self._of.setdefault(session.id, [])
        own.append(token)
        if len(own) > self._limits.replay_streams:
            self._drop(own[0])
        return trail

    def find(self, token: str, number: int) -> tuple[Trail, list[tuple[int, bytes]]] | None:
        """The stream and what followed that event, if all of it is kept here."""
        trail = self._kept.get(token)
        missed = None if trail is None else trail.since(number)
        return None if trail is None or missed is None else (trail, missed)

    def forget(self, session_id: str) -> None:
        """The session has ended."""
        for token in [*self._of.get(session_id, ())]:
            self._drop(token)

    def tidy(self) -> None:
        """Drop what has ended long enough ago."""
        over = clock.monotonic() - self._limits.replay_s
        for trail in [trail for trail in self._kept.values() if trail.ended_at is not None and trail.ended_at < over]:
            self._drop(trail.token)

    def _grew(self, size: int) -> None:
        self._size += size
        while self._size > self._limits.replay_total_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, token: str) -> None:
        trail = self._kept.pop(token)
        self._size -= trail.size
        trail.drop()
        own = self._of[trail.session_id]
        own.remove(token)
        if not own:
            del self._of[trail.session_id]


def read_event_id(session: SessionRef, text: str) -> Event:
    """The event that a `Last-Event-ID` names. Raises `Refused` (400) for what is none of this session."""
    token, _, number = text.rpartition(".")
    try:
        plain = keyring().open(PURPOSE, token, session.id.encode())
    except KeyringError:
        plain = b""
    if not plain or not number.isdecimal() or len(number) > 12:
        raise refused(400, INVALID_REQUEST, "Last-Event-ID is no event of this session")
    kind: Kind = "news" if plain[WORKER_BYTES:] == b"news" else "call"
    return Event(plain[:WORKER_BYTES].hex(), kind, token, int(number))
