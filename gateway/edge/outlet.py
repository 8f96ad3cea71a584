"""One HTTP response under way: nothing said yet, then one JSON answer or a stream of events."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.edge.failing import error_text
from gateway.edge.pulse import Beating
from gateway.edge.stream import KEEP_ALIVE, EventStream, Send, event_text
from gateway.errors import Header, Refused
from mcphub.core.aio import spawn
from mcphub.core.limits import Limits

if TYPE_CHECKING:
    from gateway.edge.trails import Trail

Receive = Callable[[], Awaitable[Any]]

NO_CONTENT: Final = 204
JSON: Final = (b"content-type", b"application/json")


class Outlet:
    """Where the answer to one HTTP request goes.

    `on_leave` is called when the client has gone, was cut because it does not read, or is dismissed.
    `still_allowed` is asked every few seconds on streams that outlive a request's authorisation.
    `begin_trail` makes the stream one that a client can come back to; `trail` is what it has begun. `polls` says that
    the client comes back by itself when the hub closes it.
    """

    __slots__ = (
        "_receive",
        "_send",
        "_watcher",
        "begin_trail",
        "begun",
        "born",
        "cors",
        "headers",
        "home",
        "json",
        "left",
        "limits",
        "on_leave",
        "polls",
        "sse",
        "still_allowed",
        "stream",
        "trail",
    )

    def __init__(self, receive: Receive, send: Send, limits: Limits) -> None:
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None
        self.limits = limits
        self.cors: tuple[Header, ...] = ()
        self.headers: tuple[Header, ...] = ()
        self.json = True
        self.sse = False
        self.born = 0.0
        self.begun = False
        self.left = False
        self.polls = False
        self.home: set[Beating] | None = None
        self.stream: EventStream | None = None
        self.on_leave: Callable[[], None] | None = None
        self.still_allowed: Callable[[], bool] | None = None
        self.begin_trail: Callable[[Outlet], Trail] | None = None
        self.trail: Trail | None = None

    async def answer(self, status: int, body: bytes = b"", headers: Sequence[Header] = ()) -> None:
        """The whole response at once; `body` is JSON text, or empty."""
        self.begun = True
        start = [*self.cors, *self.headers, *headers]
        if body:
            start.append(JSON)
        if status != NO_CONTENT:
            start.append((b"content-length", b"%d" % len(body)))
        try:
            await self._send({"type": "http.response.start", "status": status, "headers": start})
            await self._send({"type": "http.response.body", "body": body})
        except OSError:
            self.leave()

    async def refuse(self, refused: Refused, id_: bytes = b"null") -> None:
        """An HTTP error with its JSON-RPC body."""
        await self.answer(refused.status, error_text(id_, refused.error), refused.headers)

    async def finish(self, status: int, body: bytes) -> None:
        """The last message: on the stream when there is one, else as a plain answer."""
        try:
            if self.left and self.trail is None:
                return
            if self.stream is None and self.json:
                await self.answer(status, body)
                return
            stream = self.open_stream()
            if self.trail is None:
                await stream.end(event_text(body))
                return
            self.trail.finish(body)
            if not self.left:
                await stream.end()
        finally:
            self.release()

    def event(self, message: bytes) -> None:
        """Send a message before the answer; the first one makes the response a stream.

        Dropped when the client takes no events, or is gone and cannot come back for it.
        """
        if self.trail is None and (self.left or not self.sse):
            return
        stream = self.open_stream()
        if self.trail is None:
            stream.put(event_text(message))
        else:
            self.trail.say(message)

    @property
    def crowded(self) -> bool:
        """Whether the client reads slower than it is told things."""
        return self.stream is not None and self.stream.crowded

    def open_stream(self) -> EventStream:
        """The stream of this response, begun if there is none."""
        if self.stream is None:
            self.begun = True
            self.stream = EventStream(self._send, self.limits, (*self.cors, *self.headers), self.leave)
            if self.begin_trail is not None:
                self.trail = self.begin_trail(self)
                self.polls = self.trail.polls
                if first := self.trail.begin():
                    self.stream.put(first)
        return self.stream

    def put(self, text: bytes) -> None:
        """Write events that are text already; the stream begins with the first."""
        if not self.left:
            self.open_stream().put(text)

    async def hold(self) -> None:
        """Wait until the client leaves."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.leave()

    def leave(self) -> None:
        """The client is gone, or given up."""
        if self.left:
            return
        self.left = True
        if self.on_leave is not None:
            self.on_leave()

    def dismiss(self) -> None:
        """The hub ends this response, while the client is still there."""
        if not self.left and self.on_leave is not None:
            self.on_leave()

    def settle(self, now: float) -> None:
        """This response takes a while: begin to notice when the client leaves."""
        self.born = now
        if self._watcher is None:
            self._watcher = spawn(self.hold(), name="edge-client-leaves")

    def beat(self, now: float) -> None:
        """Keep a silent connection open, and end one whose principal lost its access."""
        limit = self.limits.stream_s
        if self.still_allowed is not None and not self.still_allowed():
            self.dismiss()
        elif limit and self.polls and not self.left and now - self.born >= limit:
            self.retire()
        elif (
            self.sse
            and not self.left
            and now - (self.stream.wrote_at if self.stream else self.born) >= self.limits.keepalive_s
        ):
            self.open_stream().put(KEEP_ALIVE)

    def retire(self) -> None:
        """End the stream, not the request: the client comes back for the rest."""
        if self.on_leave is not None:
            self.dismiss()
        else:
            spawn(self.end_stream(), name="edge-stream-retires")
        self.left = True

    async def end_stream(self) -> None:
        """The end of a stream that has no last message."""
        self.left = True
        try:
            await self.open_stream().end()
        finally:
            self.release()

    def release(self) -> None:
        """The response is over. What leads back here ends, for the collector that finds cycles comes rarely."""
        self.on_leave = self.still_allowed = self.begin_trail = None
        if self.trail is not None:
            self.trail.part(self)
        if self.stream is not None:
            self.stream.release()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
