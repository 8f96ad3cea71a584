"""Streamable HTTP, both eras: one POST an exchange, answered with JSON or with an event stream.

Handshake era: a session id from `initialize`, a GET stream for what belongs to no exchange, DELETE at the
end; a forgotten session (404) is made anew and the request, which was refused, sent once more. Modern era:
no session, the envelope in `_meta` and in headers. What arrives on a POST's stream belongs to its exchange.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    mcp_param_headers,
)

from mcphub.core import aio
from mcphub.core.limits import Limits
from upstreams.discovery import read_tools
from upstreams.errors import (
    EgressRefused,
    Lost,
    ProtocolFault,
    RpcError,
    TimedOut,
    TooLarge,
    Unreachable,
    UpstreamError,
    UpstreamFailed,
)
from upstreams.transports import base, opening, refusals
from upstreams.transports import wire as messages
from upstreams.transports.base import Underway, Watcher
from upstreams.transports.envelope import params_for
from upstreams.transports.events import EventReader
from upstreams.transports.http1 import Wire
from upstreams.transports.listening import RECONNECT_S, Take, listen, messages_on, new_reader
from upstreams.transports.losses import lost_because
from upstreams.transports.origin import Headers, Origin, Sending, header_lines, whole
from upstreams.transports.patience import Patience
from upstreams.transports.watching import ACKNOWLEDGED, LISTEN, Watching
from upstreams.types import MODERN, Answer, Era, Exchange, ServerFacts, UpstreamSpec

SESSION_HEADER: Final = "mcp-session-id"
RESUMES: Final = 2
CLOSE_S: Final = 2.0
MAX_ASKS: Final = 32
NOT_FORWARDED: Final = frozenset(
    {
        *("host", "connection", "content-length", "content-type", "transfer-encoding", "keep-alive", "te", "trailer"),
        *("accept", "accept-encoding", "upgrade", "expect", SESSION_HEADER),
        *(MCP_PROTOCOL_VERSION_HEADER, MCP_METHOD_HEADER, MCP_NAME_HEADER),
    }
)
USUAL_NAME: Final = 256
TAKES_BOTH: Final = "application/json, text/event-stream"


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


@lru_cache(maxsize=256)
def method_lines(method: str) -> bytes:
    """The header that repeats the method of a modern request."""
    return header_lines([(MCP_METHOD_HEADER, method)])


@lru_cache(maxsize=4096)
def named_lines(method: str, name: str) -> bytes:
    """The headers that repeat method and name of a modern request."""
    return header_lines([(MCP_METHOD_HEADER, method), (MCP_NAME_HEADER, encode_header_value(name))])


class HttpUnderway(Underway):
    """An exchange in flight, the request that carries it, and the session it was sent in."""

    __slots__ = ("sending", "session")

    def __init__(self, exchange: Exchange, id: int, patience: Patience) -> None:
        super().__init__(exchange, id, patience)
        self.sending: Sending | None = None
        self.session = ""


class Endpoint:
    """What the HTTP links of one upstream share: connections, path, and the headers that mirror arguments."""

    def __init__(self, spec: UpstreamSpec, allow: Sequence[str]) -> None:
        self.origin = Origin(spec.url, (*allow, *spec.egress_allow), spec.connect_s)
        self.target = self.origin.target(spec.url) or "/"
        self.param_headers: dict[str, dict[tuple[str, ...], str]] = {}
        self.headers: Headers = (
            *((name.lower(), value) for name, value in spec.headers.items() if name.lower() not in NOT_FORWARDED),
            ("accept-encoding", "identity"),
            ("accept", TAKES_BOTH),
            ("content-type", "application/json"),
        )


class HttpLink:
    """A link to a streamable HTTP upstream."""

    facts: ServerFacts

    def __init__(
        self,
        spec: UpstreamSpec,
        endpoint: Endpoint,
        watcher: Watcher,
        limits: Limits,
        capabilities: Mapping[str, Any],
    ) -> None:
        self.spec = spec
        self.era: Era = "modern"
        self.ended: UpstreamError | None = None
        self._endpoint = endpoint
        self._watcher = watcher
        self._limits = limits
        self._capabilities = capabilities
        self._session = ""
        self._head = b""
        self._renewing = asyncio.Lock()
        self._cancelling: set[asyncio.Task[None]] = set()
        self._last_id = 0
        self._underway: dict[int, HttpUnderway] = {}
        self._listening: asyncio.Task[bool] | None = None
        self._watching = Watching(self)

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return bool(self._underway)

    # --- opening ---------------------------------------------------------------------------------

    def _settle(self, era: Era, revision: str) -> None:
        """Speak this era and revision from now on, in the session that was taken."""
        self.era = era
        headers = [*self._endpoint.headers, (MCP_PROTOCOL_VERSION_HEADER, revision)]
        if self._session:
            headers.append((SESSION_HEADER, self._session))
        self._head = header_lines(headers)

    async def discover(self) -> Answer:
        """Ask whether the upstream is modern. Raises `UpstreamError` when it cannot be asked."""
        self._settle("modern", MODERN)
        return await self._request_once(opening.discover())

    async def initialize(self) -> ServerFacts:
        """Begin a session. Raises `UpstreamError`."""
        self.era = "handshake"
        facts = opening.handshake_facts(await self._request_once(opening.initialize(self._capabilities)))
        facts = replace(facts, sessionless=not self._session)
        self._settle("handshake", facts.revision)
        await self.notify("notifications/initialized")
        self.facts = facts
        return facts

    def listen(self) -> None:
        """Begin to take what the upstream sends outside of exchanges."""
        if self.era == "handshake":
            self._listening = aio.spawn(self._hear(self._session), name=f"listen {self.spec.slug}")
        elif self._watching.filter():
            self._listening = self._listen(self._untied)

    async def subscribe(self, uris: Collection[str]) -> Mapping[str, RpcError]:
        return await self._watching.add(uris)

    async def unsubscribe(self, uris: Collection[str]) -> None:
        await self._watching.remove(uris)

    async def relisten(self) -> Mapping[str, Any]:
        """See `Watching`."""
        before, self._listening = self._listening, None
        honoured: Mapping[str, Any] = {}
        if self._watching.filter():
            try:
                honoured = await self._acknowledged()
            except BaseException:
                self._listening = before
                raise
        if before is not None:
            await aio.cancel(before)
        return honoured

    async def _acknowledged(self) -> Mapping[str, Any]:
        """Open a listen stream; the filter that the upstream acknowledges. Raises `UpstreamError`."""
        said: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def take(message: messages.Message) -> None:
            if message.method == ACKNOWLEDGED and not said.done():
                said.set_result(message.arguments().get("notifications"))
            else:
                self._untied(message)

        task = self._listen(take)
        try:
            await asyncio.wait({said, task}, timeout=self.spec.connect_s, return_when=asyncio.FIRST_COMPLETED)
            if not said.done():
                raise UpstreamFailed("The upstream does not take the subscription.")
        except BaseException:
            await aio.cancel(task)
            raise
        self._listening = task
        return said.result() if isinstance(said.result(), Mapping) else {}

    def _listen(self, take: Take) -> asyncio.Task[bool]:
        return aio.spawn(listen(self._listen_stream, take, self._limits), name=f"listen {self.spec.slug}")

    async def _hear(self, session: str) -> bool:
        """Take the session's GET stream. That it ends by a refusal after it was there means a forgotten session."""
        had = await listen(self._get_stream, self._untied, self._limits)
        if had and session:
            aio.spawn(self._renew_quietly(session), name=f"renew {self.spec.slug}")
        return had

    async def _renew_quietly(self, forgotten: str) -> None:
        with suppress(UpstreamError):
            await self._renew(forgotten)

    # --- exchanges -------------------------------------------------------------------------------

    async def request(self, exchange: Exchange) -> Answer:
        if self.ended is not None:
            raise Unreachable("The connection to the upstream has ended.")
        try:
            answer = await self._request_once(exchange)
        except SessionForgotten as forgotten:
            await self._renew(forgotten.session)
            return await self._request_once(exchange)
        if answer.error is not None and self.era == "modern" and opening.is_about_the_hop(answer.error):
            return await self._mend(exchange, answer.error)
        return answer

    async def _request_once(self, exchange: Exchange) -> Answer:
        self._last_id += 1
        under = HttpUnderway(exchange, self._last_id, Patience(self.spec.call_s, self.spec.call_hard_s))
        self._underway[under.id] = under
        try:
            with under.patience:
                return await self._exchange(under)
        except TimedOut as late:
            self._abandon(under)
            if under.sending is not None and not under.sending.sent:
                raise TimedOut("The upstream could not be reached in time.", outcome="not_sent") from late
            raise
        except asyncio.CancelledError:
            self._abandon(under)
            raise
        finally:
            del self._underway[under.id]
            under.close()

    async def _exchange(self, under: HttpUnderway) -> Answer:
        exchange = under.exchange
        body = messages.request(under.id, exchange.method, params_for(exchange, self.era, under.id))
        if exchange.method == "initialize":
            head = header_lines(self._endpoint.headers)
        elif self.era == "handshake":
            head, under.session = self._head, self._session
        else:
            head = self._head + self._modern_head(exchange)
        try:
            return await self._post(under, head, body)
        except Moved as moved:
            self._endpoint.target = moved.target
            try:
                return await self._post(under, head, body)
            except Moved:
                raise EgressRefused("The upstream answers with one redirect after another.") from None

    async def _post(self, under: HttpUnderway, head: bytes, body: bytes) -> Answer:
        under.sending = self._endpoint.origin.send("POST", self._endpoint.target, head, body)
        async with under.sending as wire:
            return await self._read(under, wire)

    def _modern_head(self, exchange: Exchange) -> bytes:
        method, params = exchange.method, exchange.params
        member = "taskId" if method.startswith("tasks/") else NAME_BEARING_METHODS.get(method)
        name = params.get(member) if member is not None else None
        if not isinstance(name, str):
            return method_lines(method)
        lines = named_lines(method, name) if len(name) <= USUAL_NAME else named_lines.__wrapped__(method, name)
        if method == "tools/call" and (mirrored := self._endpoint.param_headers.get(name)):
            lines += header_lines(mcp_param_headers(mirrored, params.get("arguments") or {}).items())
        return lines

    # --- answers ---------------------------------------------------------------------------------

    async def _read(self, under: HttpUnderway, wire: Wire) -> Answer:
        if wire.status != 200:
            return await self._refused(under, wire)
        if wire.headers.get(b"content-encoding", b"identity") != b"identity":
            raise TooLarge("The upstream compressed its answer, so that its size cannot be bounded.")
        if under.exchange.method == "initialize":
            self._take_session(wire)
        kind = wire.headers.get(b"content-type", b"")
        if kind.startswith(b"application/json"):
            return self._answer_in(under, await whole(wire, self._limits.result_bytes, under.patience.alive))
        if kind.startswith(b"text/event-stream"):
            return await self._read_stream(under, wire)
        raise ProtocolFault("The upstream answered with neither JSON nor an event stream.")

    def _take_session(self, wire: Wire) -> None:
        session = wire.header(SESSION_HEADER.encode())
        if not (session.isascii() and session.isprintable()) or len(session) > 1024:
            raise ProtocolFault("The upstream gave an unusable session id.")
        self._session = session

    def _answer_in(self, under: Underway, body: bytes) -> Answer:
        for message in messages.decode_all(body):
            if (answer := self._route(under, message)) is not None:
                return answer
        raise ProtocolFault("The upstream's answer holds no response.")

    async def _read_stream(self, under: HttpUnderway, wire: Wire) -> Answer:
        under.patience.alive()
        reader = new_reader(self._limits)
        answer = await self._answer_on(under, wire, reader)
        for _ in range(RESUMES):
            if answer is not None or not reader.last_id or self.era == "modern":
                break
            await asyncio.sleep(RECONNECT_S if reader.retry_s is None else reader.retry_s)
            async with self._get_stream(reader.last_id) as resumed:
                answer = await self._answer_on(under, resumed, reader) if resumed.status == 200 else None
        if answer is None:
            raise lost_because("The upstream's stream ended before its answer.")
        return answer

    async def _answer_on(self, under: HttpUnderway, wire: Wire, reader: EventReader) -> Answer | None:
        """The answer on this stream; None when it ended without, which an upstream that lets us poll may do."""
        with suppress(Lost):
            async for message in messages_on(wire, reader):
                under.patience.alive()
                if (answer := self._route(under, message)) is not None:
                    return answer
        return None

    def _route(self, under: Underway, message: messages.Message) -> Answer | None:
        """Act on a message from the exchange's own stream; the response ends it."""
        if not message.method:
            if message.id != under.id:
                raise ProtocolFault("The upstream answered with another id than it was asked with.")
            return base.answer_of(message, self.era)
        if message.id is not None:
            self._asked(under, message.id, message)
        else:
            self._notified(under, message.method, message.arguments())
        return None

    async def _refused(self, under: HttpUnderway, wire: Wire) -> Answer:
        """What an answer other than 200 means. Returns the upstream's own JSON-RPC error if it sent one."""
        status = wire.status
        if 300 <= status < 400:
            target = self._endpoint.origin.target(wire.header(b"location"), self._endpoint.target)
            if status in (307, 308) and target is not None and target != self._endpoint.target:
                raise Moved(target)
            raise EgressRefused("The upstream redirects to another place.")
        error = await refusals.rpc_error(wire, under.id, under.patience.alive)
        if under.session and refusals.forgot_session(status, error):
            raise SessionForgotten(under.session)
        if error is not None and status not in refusals.ALWAYS_OURS:
            return Answer(self.era, error=error)
        raise refusals.fault(status, wire)

    # --- what the upstream sends besides answers --------------------------------------------------

    def _untied(self, message: messages.Message) -> None:
        """A message from a stream of its own."""
        if message.method and message.id is not None:
            self._asked(self._sole(), message.id, message)
        elif message.method:
            self._notified(None, message.method, message.arguments())

    def _asked(self, under: Underway | None, id: str | int, message: messages.Message) -> None:
        if self.era == "modern":
            return
        if message.method == "ping":
            self._reply(id, {})
        elif under is None or not base.declared(message.method, self._capabilities):
            self._reply(id, base.UNTIED)
        elif len(under.asked) >= MAX_ASKS or id in under.asked:
            self._reply(id, base.BUSY)
        else:
            under.ask(id, message.method, message.arguments(), self._send_quietly)

    def _notified(self, under: Underway | None, method: str, params: Mapping[str, Any]) -> None:
        if method == base.PROGRESS:
            token = params.get("progressToken")
            if isinstance(token, int) and (owner := self._underway.get(token)) is not None:
                owner.progress(params)
        elif method == base.CANCELLED:
            for each in self._underway.values():
                each.cancel_ask(params.get("requestId"))
        elif under is not None and method in base.OF_THE_EXCHANGE:
            under.notify(method, params)
        else:
            self._watcher.noticed(method, params)

    def _sole(self) -> HttpUnderway | None:
        """The only exchange under way on a private connection, for servers that ask on the wrong stream."""
        return next(iter(self._underway.values())) if len(self._underway) == 1 else None

    # --- mending ---------------------------------------------------------------------------------

    async def _renew(self, forgotten: str) -> None:
        """Begin a new session in place of `forgotten`, once for everybody who was refused with it."""
        async with self._renewing:
            if self._session != forgotten:
                return
            try:
                await self.initialize()
            except UpstreamError as error:
                raise Unreachable(error.text) from error
            if self._listening is not None:
                await aio.cancel(self._listening)
            self.listen()
        self._watcher.renewed()

    async def _mend(self, exchange: Exchange, error: RpcError) -> Answer:
        """The upstream refused our headers: read its tools again and send once more; else it is our fault."""
        if error.code == opening.HEADER_MISMATCH and exchange.method == "tools/call":
            self._endpoint.param_headers = opening.param_headers(await read_tools(self._request_once, self._limits))
            answer = await self._request_once(exchange)
            if answer.error is None or not opening.is_about_the_hop(answer.error):
                return answer
        self.ended = ProtocolFault("The upstream refuses the hub's headers.", outcome="not_sent")
        self._watcher.lost(self.ended)
        raise self.ended

    # --- everything else we send -----------------------------------------------------------------

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification. Whatever the upstream thinks of it shows on the next request."""
        await self._send_quietly(messages.notification(method, params))

    def _reply(self, id: str | int, outcome: Mapping[str, Any] | RpcError) -> None:
        aio.spawn(self._send_quietly(messages.response(id, outcome)), name="reply-upstream")

    async def _send_quietly(self, body: bytes) -> None:
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(self.spec.connect_s):
                async with self._endpoint.origin.send("POST", self._endpoint.target, self._head, body):
                    return

    def _get_stream(self, last_event_id: str) -> Sending:
        head = self._head
        if last_event_id:
            head += header_lines([("last-event-id", last_event_id)])
        return self._endpoint.origin.send("GET", self._endpoint.target, head, None)

    def _listen_stream(self, last_event_id: str) -> Sending:
        self._last_id += 1
        exchange = base.own(LISTEN, {"notifications": self._watching.filter()})
        body = messages.request(self._last_id, exchange.method, params_for(exchange, "modern", self._last_id))
        head = self._head + self._modern_head(exchange)
        return self._endpoint.origin.send("POST", self._endpoint.target, head, body)

    def _abandon(self, under: HttpUnderway) -> None:
        """A modern upstream sees the closed stream; others are told, except about the request that opens."""
        if self.era == "handshake" and under.exchange.method != "initialize" and under.sending is not None:
            task = aio.spawn(self.notify(base.CANCELLED, {"requestId": under.id}), name="cancel-upstream")
            self._cancelling.add(task)
            task.add_done_callback(self._cancelling.discard)

    async def close(self) -> None:
        self.ended = self.ended or Lost("The connection was closed by the hub.")
        if self._listening is not None:
            await aio.cancel(self._listening)
        if self._session:
            with suppress(UpstreamError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.gather(*self._cancelling)
                    async with self._endpoint.origin.send("DELETE", self._endpoint.target, self._head, None):
                        return
