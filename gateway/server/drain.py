"""Going down without losing an answer.

`Drain` counts what is in flight and knows what new requests are told; it wraps the ASGI application, so
that every server drains alike (DESIGN §9): first a notice, during which `/healthz` says 503 and everything
is still served, then new requests get 503 while those in flight may end.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, Final

import structlog
from django.conf import settings

from gateway.eras.jsonrpc import error_text
from gateway.failures import ENDING, rpc_error

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STREAM_END_S: Final = 2
SLICE_BYTES: Final = 256 * 1024
ALWAYS_SERVED: Final = frozenset({"/live", "/ready", "/health", "/healthz"})

log = structlog.get_logger(__name__)


class Drain:
    """The state of going down; one for a process. Times are seconds.

    `draining` is set from the first signal on; `refusing` is an event, set when the notice is over: whoever
    keeps a stream open for its own sake (nothing but news on it) should end it then.
    """

    def __init__(self, notice_s: float, limit_s: float) -> None:
        self.draining = False
        self.refusing: Final = asyncio.Event()
        self.in_flight = 0
        self._notice_s: Final = notice_s
        self._limit_s: Final = limit_s
        self._hurry: Final = asyncio.Event()
        self._idle: Final = asyncio.Event()
        self._streams = 0
        self._silent: Final = asyncio.Event()

    def guard(self, app: App) -> App:
        """`app`, counted while it answers and refused once the notice is over."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan" or scope["path"] in ALWAYS_SERVED:
                await app(scope, receive, send)
            elif scope["type"] == "websocket":
                await self._socket(app, scope, receive, send)
            elif self.refusing.is_set():
                await refuse(send)
            elif _is_news_stream(scope):
                await self._stream(app, scope, receive, send)
            else:
                self.in_flight += 1
                try:
                    await app(scope, receive, sliced(send))
                finally:
                    self._landed()

        return guarded

    def _landed(self) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def _socket(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Its application ends it after what is under way once `refusing` is set."""
        if self.refusing.is_set():
            await receive()
            await send({"type": "websocket.close", "code": 1001})
            return
        self.in_flight += 1
        try:
            await app(scope, receive, send)
        finally:
            self._landed()

    async def _stream(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams += 1
        try:
            await app(scope, self._until_refusing(receive), send)
        finally:
            self._streams -= 1
            if not self._streams:
                self._silent.set()

    def _until_refusing(self, receive: Receive) -> Receive:
        async def receive_or_end() -> Message:
            message = asyncio.ensure_future(receive())
            end = asyncio.ensure_future(self.refusing.wait())
            try:
                await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
                return message.result() if message.done() else {"type": "http.disconnect"}
            finally:
                message.cancel()
                end.cancel()

        return receive_or_end

    async def complete(self) -> None:
        """Give notice, then wait until nothing is in flight, at most as long as the limits say."""
        self.draining = True
        await _wait(self._hurry, self._notice_s)
        self.refusing.set()
        if self.in_flight:
            log.info("draining", in_flight=self.in_flight, limit_s=self._limit_s)
            self._idle.clear()
            await _wait(self._idle, self._limit_s)
        if self.in_flight:
            log.warning("drain_limit_reached", in_flight=self.in_flight)
        if self._streams:
            self._silent.clear()
            await _wait(self._silent, STREAM_END_S)

    def hurry(self) -> None:
        """Stop waiting: the operator signalled again."""
        self._hurry.set()
        self._idle.set()
        self._silent.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _is_news_stream(scope: Scope) -> bool:
    """A stream of news may be cut at any time; that of HTTP+SSE carries answers too."""
    return (
        scope["method"] == "GET"
        and not scope["path"].endswith("/sse")
        and any(name == b"accept" and b"text/event-stream" in value for name, value in scope["headers"])
    )


def sliced(send: Send) -> Send:
    """`send` that passes large bodies on in slices, so that backpressure and write limits see progress."""

    def send_sliced(message: Message) -> Awaitable[None]:
        if len(message.get("body", b"")) <= SLICE_BYTES:
            return send(message)
        return _send_slices(send, message)

    return send_sliced


async def _send_slices(send: Send, message: Message) -> None:
    body = message["body"]
    last = (len(body) - 1) // SLICE_BYTES * SLICE_BYTES
    for start in range(0, last, SLICE_BYTES):
        part = body[start : start + SLICE_BYTES]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({**message, "body": body[last:]})


async def refuse(send: Send) -> None:
    """Answer 503 with `Retry-After` and a JSON-RPC error: the hub is going down."""
    body = error_text(b"null", rpc_error(ENDING))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@lru_cache(maxsize=1)
def drain() -> Drain:
    """The drain of this process, with the limits of the settings."""
    limits = settings.HUB.limits
    return Drain(limits.drain_notice_s, limits.drain_s)
