"""Opens a link in the era that the upstream speaks, and finds out which one that is.

**HTTP**: `server/discover` first; only a modern upstream answers it. Otherwise `initialize`, and when that
is refused with a 4xx, the HTTP+SSE transport of 2024-11-05 on the same URL (the order of 2026-07-28,
"backward compatibility").
**stdio**: `server/discover` first as well. Some servers ignore requests that come before `initialize`, so
after `probe_s` the handshake is sent behind it, and when that is refused the question once more, for the program
may have been slow to start; some stop at it, then the process is started once more and greeted with `initialize`.
A known era (kept in the upstream's state) skips the question.

Servers that are modern may serve the handshake era as well, with requests to the client in the middle of a call,
which they cannot make of a modern one. A client of that era gets a connection in its own era there. Over HTTP
the first link finds out whether it can, with a session that it ends again; a process of its own is greeted in
the client's era at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from mcphub.core.limits import Limits
from upstreams.connection import LiveLink
from upstreams.credentials.presented import Presenter
from upstreams.credentials.vault import StoredPresenter, Use, Vault
from upstreams.errors import Lost, ProtocolFault, TimedOut, Unreachable, UpstreamError, UpstreamFailed
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

NOT_STREAMABLE: Final = frozenset({400, 404, 405, 406, 415})
Known = Era | str
Way = Callable[[Multiplexed], Awaitable[ServerFacts | None]]
"""Opens a connection in one era; None when that is not the upstream's. Raises `UpstreamError`."""


@dataclass(frozen=True, slots=True)
class Means:
    """What links are made with: one set per hub process. `allow` is the installation's egress list."""

    limits: Limits
    runner: Runner
    allow: tuple[str, ...] = ()
    vault: Vault = field(default_factory=Vault)

    def presenter(self, spec: UpstreamSpec, holder: str) -> Presenter | None:
        """What the connection of this sharing scope presents; None where it is nobody's account."""
        account = spec.account_of(holder)
        return None if account is None else StoredPresenter(self.vault, Use(spec, account))


class Reach:
    """The way to one upstream at one revision: what its links share."""

    def __init__(self, spec: UpstreamSpec, means: Means) -> None:
        self._spec = spec
        self._means = means
        self._endpoint: Endpoint | None = None
        self._both: bool | None = None

    async def open(
        self,
        era: Known,
        capabilities: Mapping[str, Any],
        watcher: Watcher,
        holder: str = "",
        *,
        as_client: bool = False,
    ) -> LiveLink:
        """A new link; `as_client`: in the handshake era if the upstream will, else modern. Raises `UpstreamError`."""
        opener = Opener(self._spec, self._means, capabilities, watcher, self._means.presenter(self._spec, holder))
        if self._spec.transport == "stdio":
            return await opener.stdio(era, as_client=as_client)
        if self._endpoint is None:
            self._endpoint = Endpoint(self._spec, self._means.allow, self._means.limits)
        if self._spec.transport == "sse":
            return await opener.sse(self._endpoint)
        if as_client:
            return await opener.http_as_client(self._endpoint)
        link = await opener.http(self._endpoint, era)
        if link.facts.era == "modern":
            link.facts = replace(link.facts, both=await self._speaks_both(opener, self._endpoint))
        return link

    async def _speaks_both(self, opener: "Opener", endpoint: Endpoint) -> bool:
        """Asked until it is known; where everybody shares one connection it does not matter."""
        if self._both is None and self._spec.sharing != "shared":
            self._both = await opener.gives_sessions(endpoint)
        return self._both is True

    def learn(self, listing: Listing, era: Era) -> Listing:
        """Take from a catalogue what calls need to know; the catalogue without what cannot be called."""
        if self._endpoint is None or era == "handshake":
            return listing
        self._endpoint.param_headers = opening.param_headers(listing.get("tool", ()))
        return opening.usable(listing)

    async def close(self) -> None:
        """Release what the links shared."""
        if self._endpoint is not None:
            self._endpoint.origin.close()


class Opener:
    """Makes one link."""

    def __init__(
        self,
        spec: UpstreamSpec,
        means: Means,
        capabilities: Mapping[str, Any],
        watcher: Watcher,
        presenter: Presenter | None,
    ) -> None:
        self._presenter = presenter
        self._spec = spec
        self._means = means
        self._capabilities = capabilities
        self._watcher = watcher

    # --- HTTP ------------------------------------------------------------------------------------

    def _http_link(self, endpoint: Endpoint, capabilities: Mapping[str, Any]) -> HttpLink:
        return HttpLink(self._spec, endpoint, self._watcher, self._means.limits, capabilities, self._presenter)

    async def http(self, endpoint: Endpoint, era: Known) -> LiveLink:
        link = self._http_link(endpoint, self._capabilities)
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

    async def http_as_client(self, endpoint: Endpoint) -> HttpLink:
        """In the handshake era; modern when the upstream has unlearned the other."""
        link = self._http_link(endpoint, self._capabilities)
        try:
            await link.initialize()
        except (UpstreamFailed, ProtocolFault):
            if not await self._is_modern(link):
                raise
        else:
            link.listen()
        return link

    async def gives_sessions(self, endpoint: Endpoint) -> bool | None:
        """Whether this modern upstream also begins sessions; without one it could not ask a client anything.

        None when it did not say.
        """
        link = self._http_link(endpoint, {})
        try:
            async with asyncio.timeout(self._means.limits.probe_s):
                return not (await link.initialize()).sessionless
        except (UpstreamFailed, ProtocolFault):
            return False
        except (TimeoutError, UpstreamError):
            return None
        finally:
            await link.close()

    async def _is_modern(self, link: HttpLink) -> bool:
        try:
            async with asyncio.timeout(self._means.limits.probe_s):
                facts = opening.modern_facts(await link.discover())
        except (TimeoutError, ProtocolFault, UpstreamFailed):
            return False
        if facts is None:
            return False
        link.facts = replace(facts, sessionless=True)
        link.listen()
        return True

    async def sse(self, endpoint: Endpoint) -> SseLink:
        link = SseLink(self._spec, endpoint, self._watcher, self._means.limits, self._capabilities, self._presenter)
        try:
            await link.ready()
            link.settle(await self._initialized(link))
        except BaseException:
            await link.close()
            raise
        return link

    # --- stdio -----------------------------------------------------------------------------------

    async def stdio(self, era: Known, *, as_client: bool = False) -> StdioLink:
        ways: tuple[Way, ...] = (self._discovered, self._initialized)
        if as_client:
            ways = (self._initialized, self._discovered)
        elif era == "handshake":
            ways = (self._initialized,)
        return await self._begun(ways)

    async def _begun(self, ways: Sequence[Way]) -> StdioLink:
        """A process that took one of these openings; one that stops at an opening is started anew for the next."""
        refusal: UpstreamError = ProtocolFault("The upstream speaks no revision that the hub knows.")
        link = await self._start()
        try:
            for way in ways:
                if isinstance(refusal, Lost):
                    await link.close()
                    link = await self._start()
                try:
                    facts = await way(link)
                except (Lost, ProtocolFault, UpstreamFailed) as fault:
                    refusal = fault
                    continue
                if facts is not None:
                    link.settle(facts)
                    await link.listen()
                    return link
            raise refusal
        except BaseException:
            await link.close()
            raise

    async def _start(self) -> StdioLink:
        spec = self._spec
        if not spec.command:
            raise Unreachable("No command is configured.")
        own = dict((await self._presenter.present()).pairs) if self._presenter is not None else {}
        command = Command((spec.command, *spec.args), {**spec.env, **own}, spec.files)
        process = await self._means.runner.start(command)
        return StdioLink(spec, process, self._watcher, self._means.limits, self._capabilities)

    async def _discovered(self, link: Multiplexed) -> ServerFacts | None:
        link.era = "modern"
        try:
            async with asyncio.timeout(self._means.limits.probe_s):
                return opening.modern_facts(await link.request(opening.discover()))
        except (TimeoutError, TimedOut, ProtocolFault):
            return None

    async def _initialized(self, link: Multiplexed) -> ServerFacts:
        link.era = "handshake"
        answer: Answer = await link.request(opening.initialize(self._capabilities))
        try:
            facts = opening.handshake_facts(answer)
        except UpstreamFailed:
            if modern := await self._discovered(link):
                return modern  # it had not begun to listen when it was asked first
            raise
        await link.notify("notifications/initialized")
        return facts
