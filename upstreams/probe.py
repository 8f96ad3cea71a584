"""Opens a link in the era that the upstream speaks, and finds out which one that is.

**HTTP**: `server/discover` first; only a modern upstream answers it. Otherwise `initialize`, and when that
is refused with a 4xx, the HTTP+SSE transport of 2024-11-05 on the same URL (the order of 2026-07-28,
"backward compatibility").
**stdio**: `server/discover` first as well. Some servers ignore requests that come before `initialize`, so
after `PROBE_S` the handshake is sent behind it; some stop at it, then the process is started once more
and greeted with `initialize`. A known era (kept in the upstream's state) skips the question.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mcphub.core.limits import Limits
from upstreams.connection import LiveLink
from upstreams.errors import Lost, ProtocolFault, TimedOut, Unreachable, UpstreamFailed
from upstreams.reports import Listing
from upstreams.runners.base import Command, Runner
from upstreams.transports import opening
from upstreams.transports.base import Watcher
from upstreams.transports.endpoint import Endpoint
from upstreams.transports.http import HttpLink
from upstreams.transports.multiplexed import Multiplexed
from upstreams.transports.refusals import HttpRefusal
from upstreams.transports.sse import SseLink
from upstreams.transports.stdio import StdioLink
from upstreams.types import Answer, Era, ServerFacts, UpstreamSpec

PROBE_S: Final = 5
NOT_STREAMABLE: Final = frozenset({400, 404, 405, 406, 415})
Known = Era | str


@dataclass(frozen=True, slots=True)
class Means:
    """What links are made with: one set per hub process. `allow` is the installation's egress list."""

    limits: Limits
    runner: Runner
    allow: tuple[str, ...] = ()


class Reach:
    """The way to one upstream at one revision: what its links share."""

    def __init__(self, spec: UpstreamSpec, means: Means) -> None:
        self._spec = spec
        self._means = means
        self._endpoint: Endpoint | None = None

    async def open(self, era: Known, capabilities: Mapping[str, Any], watcher: Watcher) -> LiveLink:
        """A new link. Raises `UpstreamError`."""
        opener = Opener(self._spec, self._means, capabilities, watcher)
        if self._spec.transport == "stdio":
            return await opener.stdio(era)
        if self._endpoint is None:
            self._endpoint = Endpoint(self._spec, self._means.allow)
        if self._spec.transport == "sse":
            return await opener.sse(self._endpoint)
        return await opener.http(self._endpoint, era)

    def learn(self, listing: Listing) -> None:
        """Take from the catalogue what calls need to know."""
        if self._endpoint is not None:
            self._endpoint.param_headers = opening.param_headers(listing.get("tool", ()))

    async def close(self) -> None:
        """Release what the links shared."""
        if self._endpoint is not None:
            self._endpoint.origin.close()


class Opener:
    """Makes one link."""

    def __init__(self, spec: UpstreamSpec, means: Means, capabilities: Mapping[str, Any], watcher: Watcher) -> None:
        self._spec = spec
        self._means = means
        self._capabilities = capabilities
        self._watcher = watcher

    # --- HTTP ------------------------------------------------------------------------------------

    async def http(self, endpoint: Endpoint, era: Known) -> LiveLink:
        link = HttpLink(self._spec, endpoint, self._watcher, self._means.limits, self._capabilities)
        if era != "handshake" and await self._is_modern(link):
            return link
        try:
            await link.initialize()
        except opening.SpeaksModern:
            if not await self._is_modern(link):
                raise
        except HttpRefusal as refusal:
            if self._spec.transport != "auto" or refusal.status not in NOT_STREAMABLE:
                raise
            return await self.sse(endpoint)
        link.listen()
        return link

    async def _is_modern(self, link: HttpLink) -> bool:
        try:
            async with asyncio.timeout(PROBE_S):
                facts = opening.modern_facts(await link.discover())
        except (TimeoutError, ProtocolFault, UpstreamFailed):
            return False
        if facts is None:
            return False
        link.facts = replace(facts, sessionless=True)
        link.listen()
        return True

    async def sse(self, endpoint: Endpoint) -> SseLink:
        link = SseLink(self._spec, endpoint, self._watcher, self._means.limits, self._capabilities)
        try:
            await link.ready()
            link.settle(await self._initialized(link))
        except BaseException:
            await link.close()
            raise
        return link

    # --- stdio -----------------------------------------------------------------------------------

    async def stdio(self, era: Known) -> StdioLink:
        link = await self._start()
        try:
            if era != "handshake":
                try:
                    if facts := await self._discovered(link):
                        link.settle(facts)
                        await link.listen()
                        return link
                except Lost:
                    await link.close()
                    link = await self._start()
            link.settle(await self._initialized(link))
        except BaseException:
            await link.close()
            raise
        return link

    async def _start(self) -> StdioLink:
        spec = self._spec
        if not spec.command:
            raise Unreachable("No command is configured.")
        process = await self._means.runner.start(Command((spec.command, *spec.args), spec.env))
        return StdioLink(spec, process, self._watcher, self._means.limits, self._capabilities)

    async def _discovered(self, link: Multiplexed) -> ServerFacts | None:
        link.era = "modern"
        try:
            async with asyncio.timeout(PROBE_S):
                return opening.modern_facts(await link.request(opening.discover()))
        except (TimeoutError, TimedOut, ProtocolFault):
            return None

    async def _initialized(self, link: Multiplexed) -> ServerFacts:
        link.era = "handshake"
        answer: Answer = await link.request(opening.initialize(self._capabilities))
        try:
            facts = opening.handshake_facts(answer)
        except opening.SpeaksModern:
            if modern := await self._discovered(link):
                return modern
            raise
        await link.notify("notifications/initialized")
        return facts
