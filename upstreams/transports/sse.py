"""HTTP+SSE of 2024-11-05: one event stream for everything the upstream says, POSTs for what we say."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mcphub.core import aio
from mcphub.core.limits import Limits
from upstreams.credentials.presented import Presenter
from upstreams.errors import EgressRefused, Lost, NeedsConnection, ProtocolFault, UpstreamError
from upstreams.transports import refusals
from upstreams.transports.base import Watcher
from upstreams.transports.endpoint import Endpoint
from upstreams.transports.events import EventReader
from upstreams.transports.http1 import Wire
from upstreams.transports.multiplexed import Multiplexed
from upstreams.transports.origin import header_lines
from upstreams.types import Exchange, UpstreamSpec

ENDLESS: Final = 1 << 62


class SseLink(Multiplexed):
    """A link over one event stream; it ends when the stream does."""

    def __init__(
        self,
        spec: UpstreamSpec,
        endpoint: Endpoint,
        watcher: Watcher,
        limits: Limits,
        capabilities: Mapping[str, Any],
        presenter: Presenter | None = None,
    ) -> None:
        super().__init__(spec, watcher, limits, capabilities)
        self._endpoint = endpoint
        self._presenter = presenter
        self._limits = limits
        self._head = header_lines(endpoint.headers)
        self._reader = EventReader(limits.result_bytes, ENDLESS)
        self._post_to: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stream = aio.spawn(self._read(), name=f"sse {spec.slug}")

    async def ready(self) -> None:
        """Wait until the upstream has said where to post. Raises `UpstreamError`."""
        await self._post_to

    async def send(self, data: bytes) -> None:
        await self._as_account(lambda head: self._post(head, data))

    async def send_for(self, exchange: Exchange, data: bytes) -> None:
        carried = b""
        if exchange.headers or exchange.claims:
            carried = self._endpoint.carried(exchange, in_session=True)
        await self._as_account(lambda head: self._post(head + carried, data))

    async def _post(self, head: bytes, data: bytes) -> None:
        async with self._endpoint.origin.send("POST", self._post_to.result(), head, data) as wire:
            if not 200 <= wire.status < 300:
                raise refusals.fault(wire.status, wire, self._limits.retry_after_s)

    async def _as_account(self, do: Callable[[bytes], Awaitable[None]]) -> None:
        """With what the link's account presents; what is refused as unauthorised is tried once more."""
        if self._presenter is None:
            return await do(self._head)
        shown = await self._presenter.present()
        try:
            await do(self._head + shown.lines)
        except NeedsConnection:
            shown = await self._presenter.instead_of(shown)
            try:
                await do(self._head + shown.lines)
            except NeedsConnection:
                raise await self._presenter.refused(shown) from None

    async def close(self) -> None:
        self.finish_quietly()
        await aio.cancel(self._stream)

    def finish(self, error: UpstreamError) -> None:
        if not self._post_to.done():
            self._post_to.set_exception(error)
        super().finish(error)

    async def _read(self) -> None:
        try:
            await self._as_account(self._get)
        except UpstreamError as error:
            self.finish(error)
        else:
            self.finish(Lost("The upstream closed its stream."))

    async def _get(self, head: bytes) -> None:
        async with self._endpoint.origin.send("GET", self._endpoint.target, head, None) as wire:
            await self._read_stream(wire)

    async def _read_stream(self, wire: Wire) -> None:
        if wire.status != 200:
            raise refusals.fault(wire.status, wire, self._limits.retry_after_s)
        if not wire.header(b"content-type").startswith("text/event-stream"):
            raise ProtocolFault("The upstream's stream is not an event stream.")
        while self.ended is None and (piece := await wire.read()):
            for event in self._reader.feed(piece):
                if event.kind == "endpoint":
                    self._announced(event.data)
                elif event.kind == "message" and event.data.strip():
                    self.received(event.data)

    def _announced(self, data: bytes) -> None:
        if self._post_to.done():
            return
        target = self._endpoint.origin.target(data.decode("utf-8", "replace"), self._endpoint.target)
        if target is None:
            raise EgressRefused("The upstream wants messages to be sent to another place.")
        self._post_to.set_result(target)
