"""One connection of an upstream: its link, made when first needed and made anew after it was lost."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from mcphub.core import aio, clock
from upstreams.errors import RpcError, TimedOut, UpstreamError
from upstreams.loglevels import MESSAGE, is_lower
from upstreams.transports.base import own
from upstreams.types import Answer, Exchange, Link, UpstreamSpec


class LiveLink(Link, Protocol):
    """A link as its keeper sees it."""

    ended: UpstreamError | None
    spec: UpstreamSpec

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification; a broken link shows on the next request."""


Make = Callable[["Connection"], Awaitable[LiveLink]]
Noticed = Callable[[str, str, Mapping[str, Any]], None]
UPDATED: Final = "notifications/resources/updated"
ROOTS_CHANGED: Final = "notifications/roots/list_changed"
SEVERAL: Final = "*"
LEVEL_S: Final = 5


class Connection:
    """The link for one (holder, declared capabilities). At most one task makes it, whoever waits for it.

    A call waits `wait_s` for it at most. `as_client`: it is in the era of its client, not in the one that the
    upstream prefers.
    """

    def __init__(
        self,
        holder: str,
        capabilities: Mapping[str, Any],
        make: Make,
        noticed: Noticed,
        lost: Callable[[], None],
        renewed: Callable[[], None],
        *,
        wait_s: float,
        as_client: bool = False,
    ) -> None:
        self._wait_s = wait_s
        self.as_client = as_client
        self.holder = holder
        self.capabilities = capabilities
        self.calls = 0
        self.used_at = clock.monotonic()
        self.live: LiveLink | None = None
        self.watched: dict[str, int] = {}
        self.level = ""
        self._caller = ""
        self._subscribing = asyncio.Lock()
        self._renewed = renewed
        self._make = make
        self._noticed = noticed
        self._lost = lost
        self._making: asyncio.Task[LiveLink | UpstreamError] | None = None
        self._drained: asyncio.Event | None = None

    async def request(self, exchange: Exchange) -> Answer:
        """Send over the live link, or over a new one. Raises `UpstreamError`."""
        link = self.live
        if link is None or link.ended is not None:
            link = await self._ready()
        if exchange.caller != self._caller:
            self._called_by(exchange.caller)
        if exchange.client.log_level != self.level and is_lower(exchange.client.log_level, self.level):
            await self.lower(exchange.client.log_level)
        self.calls += 1
        try:
            return await link.request(exchange)
        finally:
            self.calls -= 1
            self.used_at = clock.monotonic()
            if not self.calls and self._drained is not None:
                self._drained.set()

    async def _ready(self) -> LiveLink:
        """A link, waited for as long as for an answer."""
        try:
            async with asyncio.timeout(self._wait_s):
                return await self.link()
        except TimeoutError:
            raise TimedOut("The upstream did not become ready in time.", outcome="not_sent") from None

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
            self._caller = ""
            self.live = await self._make(self)
        except UpstreamError as error:
            return error
        await self._tell_level()
        if self.watched:
            aio.spawn(self._watch_again(), name="watch-again")
        return self.live

    # --- news --------------------------------------------------------------------------------------

    async def subscribe(self, uris: Collection[str]) -> Mapping[str, RpcError]:
        """Watch these resources, each once however many want it; the refusals. Raises `UpstreamError`."""
        async with self._subscribing:
            link = await self.link()
            new = [uri for uri in uris if uri not in self.watched]
            refused = await link.subscribe(new) if new else {}
            for uri in uris:
                if uri not in refused:
                    self.watched[uri] = self.watched.get(uri, 0) + 1
        return refused

    async def unsubscribe(self, uris: Collection[str]) -> None:
        """One of those who watched these resources does so no more."""
        async with self._subscribing:
            for uri in uris:
                self.watched[uri] = self.watched.get(uri, 0) - 1
            unwanted = [uri for uri in uris if self.watched[uri] <= 0]
            for uri in unwanted:
                del self.watched[uri]
            if unwanted and self.live is not None and self.live.ended is None:
                with suppress(UpstreamError):
                    await self.live.unsubscribe(unwanted)

    async def lower(self, level: str) -> None:
        """Let log messages through from `level` on, unless more are let through already."""
        if is_lower(level, self.level):
            self.level = level
            await self._tell_level()

    async def roots_changed(self) -> None:
        """Tell the upstream, if it was told that there are roots."""
        link = self.live
        if link is not None and link.ended is None and link.facts.era == "handshake" and "roots" in self.capabilities:
            await link.notify(ROOTS_CHANGED)

    async def _tell_level(self) -> None:
        link = self.live
        if not self.level or link is None or link.facts.era == "modern" or "logging" not in link.facts.capabilities:
            return
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(LEVEL_S):
                await link.request(own("logging/setLevel", {"level": self.level}))

    async def _watch_again(self) -> None:
        """A new link knows nothing of what was watched, and nobody knows what changed meanwhile."""
        async with self._subscribing:
            if self.live is not None:
                with suppress(UpstreamError):
                    await self.live.subscribe(list(self.watched))
        for uri in list(self.watched):
            self.noticed(UPDATED, {"uri": uri})

    def noticed(self, method: str, params: Mapping[str, Any]) -> None:
        self._noticed(self._audience() if method == MESSAGE else self.holder, method, params)

    def _audience(self) -> str:
        """Whom a log message concerns that belongs to no call: the holder, or the only principal who ever called."""
        return self.holder or ("" if self._caller == SEVERAL else self._caller)

    def _called_by(self, caller: str) -> None:
        if caller:
            self._caller = SEVERAL if self._caller else caller

    def renewed(self) -> None:
        if self.watched:
            aio.spawn(self._watch_again(), name="watch-again")
        self._renewed()

    def lost(self, error: UpstreamError) -> None:
        self._lost()

    async def close(self) -> None:
        """End the link, or its making."""
        if self._making is not None and not self._making.done():
            await aio.cancel(self._making)
        if self.live is not None:
            await self.live.close()
