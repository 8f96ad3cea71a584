"""Exchanges that run on another worker's connection: how they travel, and what travels back meanwhile.

Both sides of the ask's line speak JSON, as the exchange itself does; the result stays the bytes that it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from mcphub.core import aio
from mcphub.core.packing import pack, unpack
from mcphub.core.workers import Line
from upstreams import errors
from upstreams.errors import RpcError, UpstreamError
from upstreams.types import Answer, ClientFacts, Era, Exchange, Sink

FAMILIES: Final[Mapping[str, type[UpstreamError]]] = {
    family.__name__: family
    for family in vars(errors).values()
    if isinstance(family, type) and issubclass(family, UpstreamError)
}

Run = Callable[[str, Exchange], Awaitable[Answer]]
"""Runs an exchange on this worker's connection to an upstream. Raises `UpstreamError`, `Moved`."""


class Moved(Exception):
    """This worker does not have the connection (any more)."""


class Ask(msgspec.Struct):
    """An exchange without its sink."""

    upstream: str
    method: str
    params: dict[str, Any]
    client: ClientFacts
    holder: str
    progress: bool
    resend: bool
    call_id: str
    trace: Mapping[str, str]
    caller: str
    log_level: str | None
    param_headers: Mapping[str, str]
    headers: Mapping[str, str]
    claims: str


class Note(msgspec.Struct, omit_defaults=True):
    """What is said while an exchange runs.

    By its owner: a notification (`method`), or a question (`method` with its number in `ask`), or that number
    alone when the answer is not wanted any more. By the other side: what the client `told` or `refused`.
    """

    method: str = ""
    params: Mapping[str, Any] = msgspec.field(default_factory=dict)
    ask: int = 0
    told: Mapping[str, Any] | None = None
    refused: RpcError | None = None


class End(msgspec.Struct, omit_defaults=True):
    """How it ended: an answer, the upstream's own error, a fault of ours, or nothing when it is not here."""

    era: Era | None = None
    result: bytes = b""
    error: bytes = b""
    fault: str = ""
    text: str = ""
    outcome: errors.Outcome = "unknown"
    retry_after: float | None = None
    scopes: str = ""


_end: Final = msgspec.msgpack.Decoder(End)


def asking(upstream: str, exchange: Exchange) -> bytes:
    """The exchange as it travels."""
    return pack(
        Ask(
            upstream,
            exchange.method,
            exchange.params,
            exchange.client,
            exchange.holder,
            exchange.progress,
            exchange.resend,
            exchange.call_id,
            exchange.trace,
            exchange.caller,
            exchange.log_level,
            exchange.param_headers,
            exchange.headers,
            exchange.claims,
        )
    )


def answer_in(body: bytes) -> Answer:
    """The answer that came back. Raises `UpstreamError` as the owner did, or `Moved`."""
    end = _end.decode(body)
    if end.fault:
        fault = FAMILIES[end.fault](end.text, outcome=end.outcome, retry_after=end.retry_after)
        fault.scopes = end.scopes
        raise fault
    if end.era is None:
        raise Moved
    return Answer(end.era, end.result, unpack(end.error, RpcError) if end.error else None)


class Client:
    """The side where the client is: hands on what the owner says, and answers its questions."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._line: Line | None = None
        self._asked: dict[int, asyncio.Task[None]] = {}

    def use(self, line: Line) -> None:
        """Be connected."""
        self._line = line
        line.heard = self._heard

    def close(self) -> None:
        """Nothing outlives the exchange."""
        for task in tuple(self._asked.values()):
            task.cancel()

    def _heard(self, body: bytes) -> None:
        note = unpack(body, Note)
        if not note.ask:
            self._sink.notify(note.method, note.params)
        elif note.method:
            task = aio.spawn(self._ask(note), name="ask-for-owner")
            self._asked[note.ask] = task
            task.add_done_callback(lambda _: self._asked.pop(note.ask, None))
        elif (pending := self._asked.get(note.ask)) is not None:
            pending.cancel()

    async def _ask(self, note: Note) -> None:
        told = await self._sink.ask(note.method, note.params)
        answer = Note(ask=note.ask, refused=told) if isinstance(told, RpcError) else Note(ask=note.ask, told=told)
        if self._line is not None:
            self._line.say(pack(answer))


class OwnerSink:
    """The side where the upstream is: an exchange's sink that speaks over the line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any] | RpcError]] = {}
        line.heard = self._heard

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self._line.say(pack(Note(method, params)))

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | RpcError:
        self._last += 1
        number = self._last
        told: asyncio.Future[Mapping[str, Any] | RpcError] = asyncio.get_running_loop().create_future()
        self._waiting[number] = told
        self._line.say(pack(Note(method, params, number)))
        try:
            return await told
        except asyncio.CancelledError:
            self._line.say(pack(Note(ask=number)))
            raise
        finally:
            del self._waiting[number]

    def _heard(self, body: bytes) -> None:
        note = unpack(body, Note)
        told = self._waiting.get(note.ask)
        if told is not None and not told.done():
            told.set_result(note.refused if note.refused is not None else note.told or {})


async def served(run: Run, line: Line, body: bytes) -> bytes:
    """Run the exchange in `body` here; how it ended, as it travels."""
    ask = unpack(body, Ask)
    exchange = Exchange(
        ask.method,
        ask.params,
        OwnerSink(line),
        ask.client,
        ask.holder,
        ask.progress,
        ask.resend,
        ask.call_id,
        ask.trace,
        ask.caller,
        ask.log_level,
        ask.param_headers,
        ask.headers,
        ask.claims,
    )
    return msgspec.msgpack.encode(await _ended(run, ask.upstream, exchange))


async def _ended(run: Run, upstream: str, exchange: Exchange) -> End:
    try:
        answer = await run(upstream, exchange)
    except Moved:
        return End()
    except UpstreamError as error:
        return End(
            fault=next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in FAMILIES),
            text=error.text,
            outcome=error.outcome,
            retry_after=error.retry_after,
            scopes=error.scopes,
        )
    return End(answer.era, answer.result, b"" if answer.error is None else pack(answer.error))
