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
from dataclasses import dataclass
from typing import Any, Final

from mcphub.core.limits import Limits
from upstreams.connection import LiveLink
from upstreams.errors import Lost, ProtocolFault, TimedOut, Unreachable
from upstreams.reports import Listing
from upstreams.runners.base import Command, Runner
from upstreams.transports import opening
from upstreams.transports.base import Watcher
from upstreams.transports.stdio import StdioLink
from upstreams.types import Era, ServerFacts, UpstreamSpec

PROBE_S: Final = 5


@dataclass(frozen=True, slots=True)
class Means:
    """What links are made with: one set per hub process."""

    limits: Limits
    runner: Runner
    allow: tuple[str, ...] = ()


class Reach:
    """The way to one upstream at one revision: what its links share."""

    def __init__(self, spec: UpstreamSpec, means: Means) -> None:
        self._spec = spec
        self._means = means

    async def open(self, era: Era | str, capabilities: Mapping[str, Any], watcher: Watcher) -> LiveLink:
        """A new link. Raises `UpstreamError`."""
        return await open_stdio(self._spec, era, capabilities, self._means, watcher)

    def learn(self, listing: Listing) -> None:
        """Take from the catalogue what calls need to know."""

    async def close(self) -> None:
        """Release what the links shared."""


async def open_stdio(
    spec: UpstreamSpec, era: Era | str, capabilities: Mapping[str, Any], means: Means, watcher: Watcher
) -> StdioLink:
    """Start the process and open the connection. Raises `UpstreamError`."""
    link = await _start(spec, capabilities, means, watcher)
    try:
        if era != "handshake":
            try:
                if facts := await _discovered(link):
                    link.settle(facts)
                    return link
            except Lost:
                await link.close()
                link = await _start(spec, capabilities, means, watcher)
        link.settle(await _initialized(link, capabilities))
    except BaseException:
        await link.close()
        raise
    return link


async def _start(spec: UpstreamSpec, capabilities: Mapping[str, Any], means: Means, watcher: Watcher) -> StdioLink:
    if not spec.command:
        raise Unreachable("No command is configured.")
    process = await means.runner.start(Command((spec.command, *spec.args), spec.env))
    return StdioLink(spec, process, watcher, means.limits, exclusive=bool(capabilities))


async def _discovered(link: StdioLink) -> ServerFacts | None:
    link.era = "modern"
    try:
        async with asyncio.timeout(PROBE_S):
            return opening.modern_facts(await link.request(opening.discover()))
    except (TimeoutError, TimedOut, ProtocolFault):
        return None


async def _initialized(link: StdioLink, capabilities: Mapping[str, Any]) -> ServerFacts:
    link.era = "handshake"
    answer = await link.request(opening.initialize(capabilities))
    if opening.is_modern_refusal(answer.error) and (facts := await _discovered(link)):
        return facts
    facts = opening.handshake_facts(answer)
    await link.notify("notifications/initialized")
    return facts
