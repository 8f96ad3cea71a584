"""One connection of an upstream: its link, made when first needed and made anew after it was lost."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from mcphub.core import aio, clock
from upstreams.errors import UpstreamError
from upstreams.types import Answer, Exchange, Link, UpstreamSpec


class LiveLink(Link, Protocol):
    """A link as its keeper sees it."""

    ended: UpstreamError | None
    spec: UpstreamSpec

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""


Make = Callable[["Connection"], Awaitable[LiveLink]]
Noticed = Callable[[str, str, Mapping[str, Any]], None]


class Connection:
    """The link for one (holder, declared capabilities). At most one task makes it, whoever waits for it."""

    def __init__(
        self, holder: str, capabilities: Mapping[str, Any], make: Make, noticed: Noticed, lost: Callable[[], None]
    ) -> None:
        self.holder = holder
        self.capabilities = capabilities
        self.calls = 0
        self.used_at = clock.monotonic()
        self.live: LiveLink | None = None
        self._make = make
        self._noticed = noticed
        self._lost = lost
        self._making: asyncio.Task[LiveLink | UpstreamError] | None = None
        self._drained: asyncio.Event | None = None

    async def request(self, exchange: Exchange) -> Answer:
        """Send over the live link, or over a new one. Raises `UpstreamError`."""
        link = self.live
        if link is None or link.ended is not None:
            link = await self.link()
        self.calls += 1
        try:
            return await link.request(exchange)
        finally:
            self.calls -= 1
            self.used_at = clock.monotonic()
            if not self.calls and self._drained is not None:
                self._drained.set()

    async def drained(self) -> None:
        """Wait until no call is under way; for connections that get no new ones."""
        self._drained = asyncio.Event()
        if self.calls:
            await self._drained.wait()

    async def link(self) -> LiveLink:
        """The live link; made now if there is none. Raises the `UpstreamError` that prevented it."""
        if self.live is not None and self.live.ended is None:
            return self.live
        if self._making is None or self._making.done():
            self._making = aio.spawn(self._made(), name="open-upstream")
        made = await asyncio.shield(self._making)
        if isinstance(made, UpstreamError):
            raise made
        return made

    async def _made(self) -> LiveLink | UpstreamError:
        try:
            before, self.live = self.live, None
            if before is not None:
                await before.close()
            self.live = await self._make(self)
        except UpstreamError as error:
            return error
        return self.live

    def noticed(self, method: str, params: Mapping[str, Any]) -> None:
        self._noticed(self.holder, method, params)

    def lost(self, error: UpstreamError) -> None:
        self._lost()

    async def close(self) -> None:
        """End the link, or its making."""
        if self._making is not None and not self._making.done():
            await aio.cancel(self._making)
        if self.live is not None:
            await self.live.close()
