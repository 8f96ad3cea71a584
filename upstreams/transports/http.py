"""Streamable HTTP, both eras: one POST an exchange, answered with JSON or with an event stream.

Handshake era: a session id from `initialize`, a GET stream for what belongs to no exchange, DELETE at the
end; a forgotten session (404) is made anew and the request, which was refused, sent once more. Modern era:
no session, the envelope in `_meta` and in headers. What arrives on a POST's stream belongs to its exchange.
"""

import asyncio
import itertools
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace

from mcphub.core import aio
from mcphub.core.limits import Limits
from upstreams.credentials.presented import Presenter
from upstreams.discovery import read_tools
from upstreams.errors import (
    EgressRefused,
    LinkOver,
    Lost,
    NeedsConnection,
    ProtocolFault,
    RpcError,
    TimedOut,
    Unreachable,
    UpstreamError,
)
from upstreams.transports import base, opening
from upstreams.transports import wire as messages
from upstreams.transports.answers import Answers, HttpUnderway, Moved, SessionForgotten
from upstreams.transports.base import Watcher
from upstreams.transports.endpoint import Endpoint
from upstreams.transports.envelope import params_for
from upstreams.transports.hearing import Hearing
from upstreams.transports.inbox import Inbox
from upstreams.transports.patience import Patience
from upstreams.transports.session import Session
from upstreams.transports.watching import Watching
from upstreams.types import MODERN, Answer, Era, Exchange, ServerFacts, UpstreamSpec

CLOSE_S: Final = 2.0


class HttpLink:
    """A link to a streamable HTTP upstream."""

    facts: ServerFacts

    def __init__(
        self,
        spec: UpstreamSpec,
        endpoint: Endpoint,
        watcher: Watcher,
        limits: Limits,
        capabilities: Mapping[str, Any],
        presenter: Presenter | None = None,
    ) -> None:
        self.spec = spec
        self._presenter = presenter
        self.ended: UpstreamError | None = None
        self._endpoint = endpoint
        self._watcher = watcher
        self._limits = limits
        self._capabilities = capabilities
        self._renewing = asyncio.Lock()
        self._cancelling: set[asyncio.Task[None]] = set()
        self._ids = itertools.count(1)
        self._session = Session(endpoint.headers)
        self._watching = Watching(self)
        self._inbox = Inbox(self._session, watcher, capabilities, limits.questions, self._send_quietly)
        self._hearing = Hearing(
            spec,
            endpoint,
            self._session,
            limits,
            self._ids,
            self._inbox.untied,
            self._watching.filter,
            self._renew_quietly,
        )
        self._answers = Answers(endpoint, self._session, self._inbox, limits, self._hearing.get_stream)

    @property
    def era(self) -> Era:
        """What is spoken, which is known once the link was opened."""
        return self._session.era

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return bool(self._inbox.underway)

    # --- opening ---------------------------------------------------------------------------------

    async def discover(self) -> Answer:
        """Ask whether the upstream is modern. Raises `UpstreamError` when it cannot be asked."""
        self._session.settle("modern", MODERN)
        return await self._request_once(opening.discover())

    async def initialize(self) -> ServerFacts:
        """Begin a session. Raises `UpstreamError`."""
        self._session.era = "handshake"
        facts = opening.handshake_facts(await self._request_once(opening.initialize(self._capabilities)))
        facts = replace(facts, sessionless=not self._session.id)
        self._session.settle("handshake", facts.revision)
        await self.notify("notifications/initialized")
        self.facts = facts
        return facts

    def listen(self) -> None:
        """Begin to take what the upstream sends outside of exchanges."""
        self._hearing.begin()

    async def subscribe(self, uris: Collection[str]) -> Mapping[str, RpcError]:
        return await self._watching.add(uris)

    async def unsubscribe(self, uris: Collection[str]) -> None:
        await self._watching.remove(uris)

    async def relisten(self) -> Mapping[str, Any]:
        """See `Watching`."""
        return await self._hearing.relisten()

    # --- exchanges -------------------------------------------------------------------------------

    async def request(self, exchange: Exchange) -> Answer:
        if self.ended is not None:
            raise LinkOver("The connection to the upstream has ended.")
        try:
            answer = await self._request_once(exchange)
        except SessionForgotten as forgotten:
            await self._renew(forgotten.session)
            return await self._request_once(exchange)
        if answer.error is not None and self.era == "modern" and opening.is_about_the_hop(answer.error):
            return await self._mend(exchange, answer.error)
        return answer

    async def _request_once(self, exchange: Exchange) -> Answer:
        patience = Patience(self.spec.call_s, self.spec.call_hard_s)
        under = HttpUnderway(exchange, next(self._ids), patience, self._limits.notes)
        self._inbox.underway[under.id] = under
        try:
            with under.patience:
                return await (self._exchange(under) if self._presenter is None else self._as_account(under))
        except TimedOut as late:
            self._abandon(under)
            if under.sending is not None and not under.sending.sent:
                raise TimedOut("The upstream could not be reached in time.", outcome="not_sent") from late
            raise
        except asyncio.CancelledError:
            self._abandon(under)
            raise
        finally:
            del self._inbox.underway[under.id]
            under.close()

    async def _as_account(self, under: HttpUnderway) -> Answer:
        """With what the link's account presents; what is refused as unauthorised has not run and goes once more."""
        assert self._presenter is not None
        shown = await self._presenter.present()
        self._session.account = shown.lines
        try:
            answer = await self._exchange(under)
        except NeedsConnection:
            shown = await self._presenter.instead_of(shown)
            self._session.account = shown.lines
            try:
                answer = await self._exchange(under)
            except NeedsConnection:
                raise await self._presenter.refused(shown) from None
        if shown.doubted:
            await self._presenter.accepted()
        return answer

    async def _exchange(self, under: HttpUnderway) -> Answer:
        exchange, session = under.exchange, self._session
        body = messages.request(under.id, exchange.method, params_for(exchange, session.era, under.id))
        if exchange.method == "initialize":
            head = session.bare + session.account
        elif session.era == "handshake":
            head, under.session = session.head + session.account, session.id
        else:
            head = session.head + session.account + self._endpoint.mirror(exchange)
        if exchange.headers or exchange.claims:
            head += self._endpoint.carried(exchange, in_session=session.id != "")
        try:
            return await self._post(under, head, body)
        except Moved as moved:
            self._endpoint.target = moved.target
            try:
                return await self._post(under, head, body)
            except Moved:
                raise EgressRefused("The upstream answers with one redirect after another.") from None

    async def _post(self, under: HttpUnderway, head: bytes, body: bytes) -> Answer:
        under.sending = self._endpoint.origin.send("POST", self._endpoint.target, head, body)
        async with under.sending as wire:
            return await self._answers.read(under, wire)

    # --- mending ---------------------------------------------------------------------------------

    async def _renew(self, forgotten: str) -> None:
        """Begin a new session in place of `forgotten`, once for everybody who was refused with it."""
        async with self._renewing:
            if self._session.id != forgotten:
                return
            try:
                await self.initialize()
            except UpstreamError as error:
                raise Unreachable(error.text) from error
            await self._hearing.again()
        self._watcher.renewed()

    async def _renew_quietly(self, forgotten: str) -> None:
        with suppress(UpstreamError):
            await self._renew(forgotten)

    async def _mend(self, exchange: Exchange, error: RpcError) -> Answer:
        """The upstream refused our headers: read its tools again and send once more; else it is our fault.

        What the client added stays away from the second try: nobody else shall pay for it.
        """
        if error.code == opening.HEADER_MISMATCH and exchange.method == "tools/call":
            self._endpoint.param_headers = opening.param_headers(await read_tools(self._request_once, self._limits))
            answer = await self._request_once(replace(exchange, param_headers={}))
            if answer.error is None or not opening.is_about_the_hop(answer.error):
                return answer
        self.ended = ProtocolFault("The upstream refuses the hub's headers.", outcome="not_sent")
        self._watcher.lost(self.ended)
        raise self.ended

    # --- everything else we send -----------------------------------------------------------------

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification. Whatever the upstream thinks of it shows on the next request."""
        await self._send_quietly(messages.notification(method, params))

    async def _send_quietly(self, body: bytes) -> None:
        head = self._session.head + self._session.account
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(self.spec.connect_s):
                async with self._endpoint.origin.send("POST", self._endpoint.target, head, body):
                    return

    def _abandon(self, under: HttpUnderway) -> None:
        """A modern upstream sees the closed stream; others are told, except about the request that opens."""
        if self.era == "handshake" and under.exchange.method != "initialize" and under.sending is not None:
            task = aio.spawn(self.notify(base.CANCELLED, {"requestId": under.id}), name="cancel-upstream")
            self._cancelling.add(task)
            task.add_done_callback(self._cancelling.discard)

    async def close(self) -> None:
        self.ended = self.ended or Lost("The connection was closed by the hub.")
        await self._hearing.end()
        if self._session.id:
            head = self._session.head + self._session.account
            with suppress(UpstreamError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.gather(*self._cancelling)
                    async with self._endpoint.origin.send("DELETE", self._endpoint.target, head, None):
                        return
