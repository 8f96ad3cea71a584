"""The answer to one POST: JSON, an event stream that may be taken up again, or a refusal."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from mcphub.core.limits import Limits
from upstreams.errors import Lost, ProtocolFault, Unreachable
from upstreams.transports import refusals
from upstreams.transports import wire as messages
from upstreams.transports.base import Underway
from upstreams.transports.endpoint import Endpoint
from upstreams.transports.events import EventReader
from upstreams.transports.http1 import Wire
from upstreams.transports.inbox import Inbox
from upstreams.transports.listening import RECONNECT_S, messages_on, new_reader
from upstreams.transports.origin import Sending, whole
from upstreams.transports.patience import Patience
from upstreams.transports.session import Session
from upstreams.types import Answer, Exchange

RESUMES: Final = 2
MOVED: Final = frozenset({307, 308})


class SessionForgotten(Unreachable):
    """The upstream does not know our session any more; it did not run the request."""

    def __init__(self, session: str) -> None:
        super().__init__("The upstream forgot the session.")
        self.session = session


class Moved(Exception):
    """The endpoint is at another path of the same origin; the request was not run."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target


class HttpUnderway(Underway):
    """An exchange in flight, the request that carries it, and the session it was sent in."""

    __slots__ = ("sending", "session")

    def __init__(self, exchange: Exchange, id: int, patience: Patience, most_notes: int) -> None:
        super().__init__(exchange, id, patience, most_notes)
        self.sending: Sending | None = None
        self.session = ""


class Answers:
    """Reads the answers of one link. `get_stream` takes up a stream after the event with this id."""

    def __init__(
        self,
        endpoint: Endpoint,
        session: Session,
        inbox: Inbox,
        limits: Limits,
        get_stream: Callable[[str], Sending],
    ) -> None:
        self._endpoint = endpoint
        self._session = session
        self._inbox = inbox
        self._limits = limits
        self._get_stream = get_stream

    async def read(self, under: HttpUnderway, wire: Wire) -> Answer:
        """The upstream's answer. Raises `UpstreamError`, `SessionForgotten` and `Moved`."""
        if wire.status != 200:
            return await self._refused(under, wire)
        if under.exchange.method == "initialize":
            self._session.take(wire)
        kind = wire.headers.get(b"content-type", b"")
        if kind.startswith(b"application/json"):
            return self._answer_in(under, await whole(wire, self._limits.result_bytes, under.patience.alive))
        if kind.startswith(b"text/event-stream"):
            return await self._on_streams(under, wire)
        raise ProtocolFault("The upstream answered with neither JSON nor an event stream.")

    def _answer_in(self, under: Underway, body: bytes) -> Answer:
        for message in messages.decode_all(body):
            if (answer := self._inbox.belonging(under, message)) is not None:
                return answer
        raise ProtocolFault("The upstream's answer holds no response.")

    async def _on_streams(self, under: HttpUnderway, wire: Wire) -> Answer:
        under.patience.alive()
        reader = new_reader(self._limits)
        answer = await self._on_stream(under, wire, reader)
        for _ in range(RESUMES):
            if answer is not None or not reader.last_id or self._session.era == "modern":
                break
            await asyncio.sleep(RECONNECT_S if reader.retry_s is None else reader.retry_s)
            async with self._get_stream(reader.last_id) as resumed:
                answer = await self._on_stream(under, resumed, reader) if resumed.status == 200 else None
        if answer is None:
            raise Lost("The upstream's stream ended before its answer.")
        return answer

    async def _on_stream(self, under: HttpUnderway, wire: Wire, reader: EventReader) -> Answer | None:
        """The answer on this stream; None when it ended without, which an upstream that lets us poll may do."""
        with suppress(Lost):
            async for message in messages_on(wire, reader):
                under.patience.alive()
                if (answer := self._inbox.belonging(under, message)) is not None:
                    return answer
        return None

    async def _refused(self, under: HttpUnderway, wire: Wire) -> Answer:
        """What an answer other than 200 means. Returns the upstream's own JSON-RPC error if it sent one."""
        status = wire.status
        if status in MOVED and (target := self._other_path(wire)):
            raise Moved(target)
        error = await refusals.rpc_error(wire, under.id, under.patience.alive, self._limits.refusal_bytes)
        if under.session and refusals.forgot_session(status, error):
            raise SessionForgotten(under.session)
        if error is not None and status not in refusals.ALWAYS_OURS:
            return Answer(self._session.era, error=error)
        raise refusals.fault(status, wire, self._limits.retry_after_s)

    def _other_path(self, wire: Wire) -> str:
        """Where a redirect leads on the same origin; "" for any other place, which is never followed."""
        target = self._endpoint.origin.target(wire.header(b"location"), self._endpoint.target)
        return target if target and target != self._endpoint.target else ""
