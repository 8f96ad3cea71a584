"""Many exchanges over one stream, told apart by our ids: what stdio and HTTP+SSE have in common.

Such a stream does not say which exchange a request of the upstream belongs to. It goes to the sink of
the only exchange under way, and is refused when there is none, or more than one. A connection that
declares sampling, elicitation or roots therefore runs one exchange at a time, and a cancelled one counts
as under way until the upstream has answered it or `ABANDONED_S` have passed.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Final

from audit.metrics import STRAYS
from mcphub.core import aio, clock
from mcphub.core.limits import Limits
from upstreams.errors import (
    LinkOver,
    Lost,
    ProtocolFault,
    RpcError,
    TimedOut,
    TooLarge,
    UpstreamError,
    UpstreamFailed,
)
from upstreams.loglevels import MESSAGE
from upstreams.transports import base, wire
from upstreams.transports.base import Underway, Watcher
from upstreams.transports.envelope import BRIDGED, params_for
from upstreams.transports.events import FLOOD
from upstreams.transports.listening import RECONNECT_S
from upstreams.transports.patience import Patience
from upstreams.transports.watching import ACKNOWLEDGED, LISTEN, SUBSCRIPTION_ID, Watching
from upstreams.types import Answer, Era, Exchange, ServerFacts, UpstreamSpec

ABANDONED_S: Final = 10
OPENING: Final = frozenset({"initialize", "server/discover"})


class Multiplexed:
    """A link over one stream. Subclasses send bytes and hand over what arrives."""

    facts: ServerFacts

    def __init__(self, spec: UpstreamSpec, watcher: Watcher, limits: Limits, capabilities: Mapping[str, Any]) -> None:
        self.spec = spec
        self.era: Era = "handshake"
        self.ended: UpstreamError | None = None
        self._watcher = watcher
        self._capabilities = capabilities
        self._turn = asyncio.Lock() if any(name in capabilities for name in BRIDGED) else None
        self._limits = limits
        self._noise_run = 0
        self._talk_until = 0.0
        self._talk_left = 0
        self._last_id = 0
        self._underway: dict[int, Underway] = {}
        self._abandoned: dict[int, float] = {}
        self._replies: set[asyncio.Task[None]] = set()
        self._watching = Watching(self)
        self._listening = 0
        self._listens: set[int] = set()
        self._acknowledged: dict[int, asyncio.Future[Any]] = {}

    async def send(self, data: bytes) -> None:
        """Send one message. Raises `UpstreamError` or `OSError`."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the stream and everything behind it."""
        raise NotImplementedError

    def settle(self, facts: ServerFacts) -> None:
        """The opening is over: from here on the upstream's era is known."""
        self.facts = facts
        self.era = facts.era
        if facts.era == "modern":
            self._turn = None

    async def listen(self) -> None:
        """Begin to hear of changed lists, which a modern upstream tells of only when asked."""
        if self.era == "modern":
            with suppress(UpstreamError):
                await self.relisten()

    async def subscribe(self, uris: Collection[str]) -> Mapping[str, RpcError]:
        return await self._watching.add(uris)

    async def unsubscribe(self, uris: Collection[str]) -> None:
        await self._watching.remove(uris)

    async def relisten(self) -> Mapping[str, Any]:
        """See `Watching`."""
        before, wanted = self._listening, self._watching.filter()
        honoured = await self._listen_to(wanted) if wanted else {}
        if before:
            self._listening = self._listening if wanted else 0
            await self.notify(base.CANCELLED, {"requestId": before})
        return honoured

    async def _listen_to(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        self._last_id += 1
        id = self._last_id
        self._listens = {self._listening, id}
        said = self._acknowledged[id] = asyncio.get_running_loop().create_future()
        params = params_for(base.own(LISTEN, {"notifications": wanted}), "modern", id)
        try:
            async with asyncio.timeout(self.spec.connect_s):
                await self.send(wire.request(id, LISTEN, params))
                honoured = await said
        except TimeoutError:
            raise UpstreamFailed("The upstream does not take the subscription.") from None
        except OSError as error:
            raise Lost("The upstream went away.") from error
        finally:
            del self._acknowledged[id]
        self._listening = id
        return honoured if isinstance(honoured, Mapping) else {}

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return bool(self._underway)

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification; a broken stream shows on the next request."""
        try:
            await self.send(wire.notification(method, params))
        except (OSError, UpstreamError):
            return

    async def request(self, exchange: Exchange) -> Answer:
        if self.ended is not None:
            raise LinkOver("The connection to the upstream has ended.")
        self._last_id += 1
        under = Underway(
            exchange, self._last_id, Patience(self.spec.call_s, self.spec.call_hard_s), self._limits.notes
        )
        sent = False
        try:
            with under.patience:
                async with self._turn or nullcontext():
                    self._underway[under.id] = under
                    sent = True
                    params = params_for(exchange, self.era, under.id)
                    await self.send_for(exchange, wire.request(under.id, exchange.method, params))
                    return await under.answer
        except TimedOut:
            if not sent:
                raise TimedOut("The upstream was busy with another call.", outcome="not_sent") from None
            self._abandon(under)
            raise
        except asyncio.CancelledError:
            if sent:
                self._abandon(under)
            raise
        except OSError as error:
            raise Lost("The upstream went away.") from error
        finally:
            self._underway.pop(under.id, None)
            under.close()

    def _abandon(self, under: Underway) -> None:
        """Tell the upstream that nobody waits any more; the requests that open a connection are never cancelled."""
        if self.ended is not None:
            return
        self._abandoned[under.id] = clock.monotonic() + ABANDONED_S
        if under.exchange.method in OPENING:
            return
        aio.spawn(self.notify(base.CANCELLED, {"requestId": under.id}), name="cancel-upstream")

    def received(self, text: bytes) -> None:
        """Take what arrived: a message, a batch, or noise."""
        try:
            messages = wire.decode_all(text)
        except ProtocolFault as fault:
            self._noticed_noise(fault, meant=b'"jsonrpc"' in text[:1024])
            return
        self._noise_run = 0
        if any(message.method for message in messages):
            self._talked(len(text))
        for message in messages:
            self._route(message)

    def _talked(self, size: int) -> None:
        """Something that is no answer arrived: end a stream that carries too much of it."""
        now = clock.monotonic()
        if now >= self._talk_until:
            self._talk_until, self._talk_left = now + self._limits.talk_s, self._limits.stream_bytes
        self._talk_left -= size
        if self._talk_left < 0:
            self.finish(TooLarge(FLOOD))

    def too_long(self, head: bytes, error: UpstreamError) -> None:
        """A message over the limit was thrown away; `head` is its beginning, where our id may stand."""
        for under in self._underway.values():
            if f'"id":{under.id},'.encode() in head.replace(b" ", b""):
                under.fail(error)
                return
        for under in self._underway.values():
            under.fail(error)

    def _noticed_noise(self, fault: ProtocolFault, *, meant: bool) -> None:
        self._count_stray()
        self._noise_run += 1
        if meant and (under := self._sole()) is not None:
            under.fail(fault)
        elif self._noise_run > self._limits.noise_lines:
            self.finish(ProtocolFault("The upstream prints other things than protocol messages."))

    def _count_stray(self) -> None:
        STRAYS.labels(self.spec.slug).inc()

    def _route(self, message: wire.Message) -> None:
        if not message.method:
            self._answered(message)
        elif message.id is not None:
            self._asked(message.id, message)
        else:
            self._notified(message)

    def _answered(self, message: wire.Message) -> None:
        under = self._underway.get(message.id) if isinstance(message.id, int) else None
        if under is not None and not under.answer.done():
            under.settle(message, self.era)
        elif isinstance(message.id, int) and self._abandoned.pop(message.id, None) is not None:
            return
        elif message.id in self._listens:
            self._tells_no_more(int(message.id))
        elif isinstance(message.id, int) and 0 < message.id <= self._last_id:
            self._count_stray()  # a second answer; whoever is under way now has nothing to do with it
        else:
            self._noticed_noise(ProtocolFault("The upstream answered with an id that was not asked."), meant=True)

    def _tells_no_more(self, id: int) -> None:
        """A request to listen was answered: refused, or ended by the upstream; then it is asked again, later."""
        self._listens.discard(id)
        if (said := self._acknowledged.get(id)) is not None and not said.done():
            said.set_exception(UpstreamFailed("The upstream does not take the subscription."))
        elif id == self._listening:
            self._listening = 0
            aio.spawn(self._listen_again(), name="listen-again")

    def _takes_subscription(self, params: Mapping[str, Any]) -> None:
        meta = params.get("_meta")
        id = meta.get(SUBSCRIPTION_ID) if isinstance(meta, Mapping) else None
        said = self._acknowledged.get(id) if isinstance(id, int) else None
        if said is not None and not said.done():
            said.set_result(params.get("notifications"))

    async def _listen_again(self) -> None:
        await asyncio.sleep(RECONNECT_S)
        if self.ended is None and not self._listening:
            await self.listen()

    def _asked(self, id: int | str, message: wire.Message) -> None:
        if message.method == "ping":
            self._reply(id, {})
            return
        under = self._sole()
        if under is None or not base.declared(message.method, self._capabilities):
            self._reply(id, base.UNTIED)
        elif len(under.asked) >= self._limits.questions or id in under.asked:
            self._reply(id, base.BUSY)
        else:
            try:
                under.ask(id, message.method, message.arguments(), self._send_quietly)
            except ProtocolFault as fault:
                under.fail(fault)

    def _notified(self, message: wire.Message) -> None:
        try:
            params = message.arguments()
        except ProtocolFault:
            self._count_stray()
            return
        if message.method == base.PROGRESS:
            token = params.get("progressToken")
            if isinstance(token, int) and (under := self._underway.get(token)) is not None:
                under.progress(params)
        elif message.method == base.CANCELLED:
            for under in self._underway.values():
                under.cancel_ask(params.get("requestId"))
        elif message.method == ACKNOWLEDGED:
            self._takes_subscription(params)
        elif message.method == MESSAGE and (caused := self._caused_by()) is not None:
            caused.notify(message.method, params)
        else:
            self._watcher.noticed(message.method, params)

    def _caused_by(self) -> Underway | None:
        """The only call of a client under way, which a log message must be about; the hub's own say nothing."""
        calls = [under for under in self._underway.values() if under.exchange.caller]
        return calls[0] if len(calls) == 1 and not self._still_abandoned() else None

    def _sole(self) -> Underway | None:
        """The exchange that an untied request of the upstream must belong to, if that is certain."""
        if len(self._underway) != 1 or self._still_abandoned():
            return None
        return next(iter(self._underway.values()))

    def _still_abandoned(self) -> bool:
        """Whether the upstream may still be at work on what nobody waits for."""
        now = clock.monotonic()
        self._abandoned = {id: until for id, until in self._abandoned.items() if until > now}
        return bool(self._abandoned)

    def _reply(self, id: int | str, outcome: Mapping[str, Any] | RpcError) -> None:
        if len(self._replies) < self._limits.questions:
            task = aio.spawn(self._send_quietly(wire.response(id, outcome)), name="reply-upstream")
            self._replies.add(task)
            task.add_done_callback(self._replies.discard)

    async def send_for(self, exchange: Exchange, data: bytes) -> None:
        """Send the request of an exchange; over streams of a process nothing goes with it."""
        await self.send(data)

    async def _send_quietly(self, data: bytes) -> None:
        try:
            await self.send(data)
        except (OSError, UpstreamError):
            return

    def finish(self, error: UpstreamError) -> None:
        """The stream has ended by itself or broke the rules: everything under way ends with `error`."""
        if self.ended is not None:
            return
        self.ended = error
        for under in self._underway.values():
            under.fail(error)
        self._watcher.lost(error)

    def finish_quietly(self) -> None:
        """We end it ourselves: what is still under way ends as `Lost`, and nobody is told."""
        if self.ended is None:
            self.ended = Lost("The connection was closed by the hub.")
            for under in self._underway.values():
                under.fail(Lost("The connection to the upstream was closed."))
