"""One HTTP link's stream of what belongs to no exchange: the session's GET stream, or `subscriptions/listen`."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from mcphub.core import aio
from mcphub.core.limits import Limits
from upstreams.errors import UpstreamFailed
from upstreams.transports import base
from upstreams.transports import wire as messages
from upstreams.transports.endpoint import Endpoint
from upstreams.transports.envelope import params_for
from upstreams.transports.listening import Take, listen
from upstreams.transports.origin import Sending, header_lines
from upstreams.transports.session import Session
from upstreams.transports.watching import ACKNOWLEDGED, LISTEN
from upstreams.types import UpstreamSpec


class Hearing:
    """At most one such stream at a time. `wanted` gives the filter that a modern upstream is asked for."""

    def __init__(
        self,
        spec: UpstreamSpec,
        endpoint: Endpoint,
        session: Session,
        limits: Limits,
        ids: Iterator[int],
        untied: Take,
        wanted: Callable[[], Mapping[str, Any]],
        forgotten: Callable[[str], Coroutine[Any, Any, None]],
    ) -> None:
        self._spec = spec
        self._endpoint = endpoint
        self._session = session
        self._limits = limits
        self._ids = ids
        self._untied = untied
        self._wanted = wanted
        self._forgotten = forgotten
        self._task: asyncio.Task[bool] | None = None

    def begin(self) -> None:
        """Begin to take what the upstream sends, where it has something to tell."""
        if self._session.era == "handshake":
            self._task = aio.spawn(self._hear(self._session.id), name=f"listen {self._spec.slug}")
        elif self._wanted():
            self._task = self._listen(self._untied)

    async def again(self) -> None:
        """Begin anew in a session that has replaced the one before."""
        await self.end()
        self.begin()

    async def end(self) -> None:
        """Take no more."""
        if self._task is not None:
            await aio.cancel(self._task)

    async def relisten(self) -> Mapping[str, Any]:
        """See `Watching`."""
        before, self._task = self._task, None
        honoured: Mapping[str, Any] = {}
        if self._wanted():
            try:
                honoured = await self._acknowledged()
            except BaseException:
                self._task = before
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
            await asyncio.wait({said, task}, timeout=self._spec.connect_s, return_when=asyncio.FIRST_COMPLETED)
            if not said.done():
                raise UpstreamFailed("The upstream does not take the subscription.")
        except BaseException:
            await aio.cancel(task)
            raise
        self._task = task
        return said.result() if isinstance(said.result(), Mapping) else {}

    def _listen(self, take: Take) -> asyncio.Task[bool]:
        return aio.spawn(listen(self._listen_stream, take, self._limits), name=f"listen {self._spec.slug}")

    async def _hear(self, session: str) -> bool:
        """Take the session's GET stream. That it ends by a refusal after it was there means a forgotten session."""
        had = await listen(self.get_stream, self._untied, self._limits)
        if had and session:
            aio.spawn(self._forgotten(session), name=f"renew {self._spec.slug}")
        return had

    def get_stream(self, last_event_id: str) -> Sending:
        """The session's stream, or with an event id what came after that event."""
        head = self._session.head + self._session.account
        if last_event_id:
            head += header_lines([("last-event-id", last_event_id)])
        return self._endpoint.origin.send("GET", self._endpoint.target, head, None)

    def _listen_stream(self, last_event_id: str) -> Sending:
        id = next(self._ids)
        exchange = base.own(LISTEN, {"notifications": self._wanted()})
        body = messages.request(id, exchange.method, params_for(exchange, "modern", id))
        head = self._session.head + self._session.account + self._endpoint.mirror(exchange)
        return self._endpoint.origin.send("POST", self._endpoint.target, head, body)
