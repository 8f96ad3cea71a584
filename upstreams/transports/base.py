"""What the transports share: whom they report to, and one exchange under way."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from mcphub.core import aio
from upstreams.errors import ProtocolFault, RpcError, UpstreamError
from upstreams.loglevels import MESSAGE, is_heard
from upstreams.transports import wire
from upstreams.transports.patience import Patience
from upstreams.types import Answer, Era, Exchange

METHOD_NOT_FOUND: Final = -32601
INTERNAL_ERROR: Final = -32603
PROGRESS: Final = "notifications/progress"
CANCELLED: Final = "notifications/cancelled"
OF_THE_EXCHANGE: Final = frozenset({MESSAGE, "notifications/elicitation/complete"})

UNTIED: Final = RpcError(METHOD_NOT_FOUND, "No call is under way that this request could belong to")
BUSY: Final = RpcError(INTERNAL_ERROR, "Too many requests at once")

ASKABLE: Final[Mapping[str, str]] = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}

Send = Callable[[bytes], Awaitable[None]]


class Watcher(Protocol):
    """Whom a link reports to: its keeper in `upstreams.connections`."""

    def noticed(self, method: str, params: Mapping[str, Any]) -> None:
        """The upstream sent a notification that belongs to no exchange."""

    def renewed(self) -> None:
        """The upstream began a new session: what it offers may be different."""

    def lost(self, error: UpstreamError) -> None:
        """The link has ended by itself and takes no more requests."""


class QuietSink:
    """For the hub's own requests: notifications are dropped, questions refused."""

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        return None

    async def ask(self, method: str, params: Mapping[str, Any]) -> RpcError:
        return RpcError(METHOD_NOT_FOUND, "Method not found")


QUIET: Final = QuietSink()


def declared(method: str, capabilities: Mapping[str, Any]) -> bool:
    """Whether a connection that declared `capabilities` may be asked `method`."""
    return ASKABLE.get(method) in capabilities


def own(method: str, params: dict[str, Any] | None = None) -> Exchange:
    """A request that the hub makes for itself; it may be sent twice."""
    return Exchange(method, params or {}, QUIET, resend=True)


class Underway:
    """One exchange in flight: routes what the upstream sends meanwhile to this exchange's sink only.

    At most `most_notes` notifications are passed on.
    """

    __slots__ = ("_notes_left", "answer", "asked", "exchange", "id", "patience")

    def __init__(self, exchange: Exchange, id: int, patience: Patience, most_notes: int) -> None:
        self.exchange = exchange
        self.id = id
        self.patience = patience
        self._notes_left = most_notes
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.asked: dict[int | str, asyncio.Task[None]] = {}

    def progress(self, params: Mapping[str, Any]) -> None:
        """Pass progress on, without our token, when it was asked for; of a flood only the beginning."""
        self.patience.alive()
        self._notes_left -= 1
        if self.exchange.progress and self._notes_left >= 0:
            self.exchange.sink.notify(
                PROGRESS, {key: value for key, value in params.items() if key != "progressToken"}
            )

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Pass a log message on; of a flood only the beginning."""
        self.patience.alive()
        self._notes_left -= 1
        level = self.exchange.log_level
        if level is not None and is_heard(params, level) and self._notes_left >= 0:
            self.exchange.sink.notify(method, params)

    def ask(self, id: int | str, method: str, params: Mapping[str, Any], send: Send) -> None:
        """Ask the client and send its answer back as the response to `id`."""
        task = aio.spawn(self._ask(id, method, params, send), name="upstream-asks")
        self.asked[id] = task
        task.add_done_callback(lambda _: self.asked.pop(id, None))

    async def _ask(self, id: int | str, method: str, params: Mapping[str, Any], send: Send) -> None:
        self.patience.pause()
        try:
            reply = await self.exchange.sink.ask(method, params)
        finally:
            self.patience.resume()
        await send(wire.response(id, reply))

    def cancel_ask(self, id: Any) -> None:
        """The upstream does not want the answer to `id` any more."""
        if task := self.asked.get(id):
            task.cancel()

    def settle(self, message: wire.Message, era: Era) -> None:
        """End with the upstream's response."""
        if not self.answer.done():
            try:
                self.answer.set_result(answer_of(message, era))
            except ProtocolFault as fault:
                self.answer.set_exception(fault)

    def fail(self, error: UpstreamError) -> None:
        """End without a response."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def close(self) -> None:
        """Nothing of this exchange outlives it."""
        for task in tuple(self.asked.values()):
            task.cancel()
        if self.answer.done() and not self.answer.cancelled():
            self.answer.exception()


def answer_of(message: wire.Message, era: Era) -> Answer:
    """The response as an `Answer`. Raises `ProtocolFault`."""
    if message.error is not None:
        return Answer(era, error=wire.error_of(message.error))
    return Answer(era, wire.result_of(message))
