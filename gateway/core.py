"""The core behind the edge: who asks, what the route opens, and which part answers the method."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from django.conf import settings
from msgspec import structs

from gateway import finding, lists
from gateway.calls import Refused as CallRefused
from gateway.errors import METHOD_NOT_FOUND, TooManyAttempts
from gateway.facts import described
from gateway.finding import Finder
from gateway.guesses import Guesses
from gateway.keys import KeyProver
from gateway.mirrored import check_mirrored
from gateway.news import News
from gateway.pipeline import Pipeline
from gateway.proofs import Prover, Provers
from gateway.readers import READERS
from gateway.relay import SERVER_INFO, encode
from gateway.resources import LiveResources
from gateway.router import Reach, reach
from gateway.snapshot import Snapshots
from gateway.subscriptions import LIST_OF, digest
from gateway.types import Credentials, NotFound, Notification, Reply, Request, Route, Unauthenticated
from gateway.union import narrowed
from mcphub.core.principal import Principal
from upstreams.connection import ROOTS_CHANGED
from upstreams.connections import Connections
from upstreams.errors import RpcError
from upstreams.naming import public_name
from upstreams.types import MODERN, ClientFacts

LIST_TTL_MS: Final = 60_000
LIVE_TTL_MS: Final = 2_000
LISTEN: Final = "subscriptions/listen"
SET_LEVEL: Final = "logging/setLevel"
NO_HEADERS: Final[Mapping[str, str]] = {}
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"


class Core:
    """Implements `gateway.types.GatewayCore` over one process's snapshot, connections and audit writer."""

    def __init__(
        self, snapshots: Snapshots, connections: Connections, pipeline: Pipeline, provers: Sequence[Prover] = ()
    ) -> None:
        self._snapshots = snapshots
        self._connections = connections
        self._pipeline = pipeline
        self.resources: Final = LiveResources(snapshots.live, connections, settings.HUB.limits)
        self.news: Final = News(
            self._reach_now, connections, settings.HUB.limits, pipeline.denials, pipeline.connecting
        )
        self._waiting: Final[Mapping[str, Callable[[Request, Reply, Reach], Awaitable[None]]]] = {
            "subscriptions/listen": self.news.listen,
            "resources/subscribe": self.news.subscribe,
            "resources/unsubscribe": self.news.unsubscribe,
            "logging/setLevel": self.news.set_level,
            "resources/list": self._list_resources,
        }
        self._finder = Finder()
        self.provers: Final = Provers(KeyProver(snapshots), provers)
        self.guesses: Final = Guesses(settings.HUB.limits)
        self._no_auth = settings.START.no_auth
        self._single_upstream = settings.START.single_upstream

    def fresh(self) -> Awaitable[None]:
        """See `GatewayCore.fresh`."""
        return self._snapshots.fresh()

    async def authenticate(self, credentials: Credentials, route: Route, source: str) -> Principal:
        """See `GatewayCore.authenticate`."""
        try:
            return self.principal(credentials, route, source)
        except Unauthenticated:
            if not credentials.secret:
                raise
        prover = self.provers.of(credentials.secret)
        if prover.is_guess(credentials.secret):
            self._count_failure(source)
            await prover.look(credentials.secret)
            return self.principal(credentials, route, source)
        await prover.look(credentials.secret)
        try:
            return self.principal(credentials, route, source)
        except Unauthenticated:
            self._count_failure(source)
            raise

    def _count_failure(self, source: str) -> None:
        if wait_s := self.guesses.failed(source):
            raise TooManyAttempts(wait_s)

    def principal(self, credentials: Credentials, route: Route, source: str) -> Principal:
        """See `GatewayCore.principal`."""
        if self._no_auth and credentials.scheme == "none":
            principal = self._open_principal()
            if route.org and route.org != principal.org.slug:
                raise NotFound
            return principal
        return self.provers.prove(credentials.secret, source).on(route)

    def carried(self, org_id: str, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """See `GatewayCore.carried`."""
        snapshot = self._snapshots.orgs.get(org_id)
        if snapshot is None or not snapshot.forwardable:
            return NO_HEADERS
        return {name: headers[raw].decode("latin-1") for raw, name in snapshot.forwardable.items() if raw in headers}

    async def handle(self, request: Request, reply: Reply) -> None:
        """See `GatewayCore.handle`."""
        opened = self._reach(request.principal, request.route, request.client)
        if finding.is_asked(opened) and request.method == finding.METHOD and not opened.others:
            await self._finder.call(request, reply, opened, self._call)
        elif request.method in READERS:
            if opened.others:
                try:
                    request, opened = narrowed(request, opened)
                except CallRefused as refused:
                    reply.error(refused.error)
                    return
            if opened.snapshot.catalogue.mirrors and request.era == "modern":
                check_mirrored(request, opened)
            await self._call(request, reply, opened)
        elif (wait := self._waiting.get(request.method)) is not None:
            await wait(request, reply, opened)
        elif (method := self._methods.get(request.method)) is not None:
            method(self, request, reply, opened)
        else:
            reply.error(RpcError(METHOD_NOT_FOUND, f"Method not found: {request.method}"), 404)

    def _call(self, request: Request, reply: Reply, opened: Reach) -> Awaitable[None]:
        return self._pipeline.run(request, reply, opened, self._again)

    def _reach(self, principal: Principal, route: Route, client: ClientFacts) -> Reach:
        snapshot = self._snapshots.orgs.get(principal.org.id)
        if snapshot is None:
            raise NotFound
        if not principal.others or route.kind != "aggregate" or self._single_upstream:
            return reach(snapshot, principal, route, client, self._single_upstream)
        everyone = (replace(principal, others=()), *principal.others)
        found = [self._reach(each, route, client) for each in everyone if each.org.id in self._snapshots.orgs]
        return structs.replace(found[0], others=tuple(found[1:]))

    def _reach_now(self, principal: Principal, route: Route, client: ClientFacts) -> Reach:
        return self._reach(self.provers.now(principal), route, client)

    async def _again(self, request: Request) -> Reach:
        """What `request` may reach by now, a wait later. Raises `NotFound` when its credential has ended."""
        return self._reach(await self.provers.again(request.principal), request.route, request.client)

    async def notified(self, note: Notification) -> None:
        """See `GatewayCore.notified`. Cancellation is the edge's; of the rest only changed roots concern anybody."""
        if note.method == ROOTS_CHANGED and note.session is not None:
            with suppress(NotFound):
                opened = self._reach(note.principal, note.route, note.session.client)
                await self.news.roots_changed(note, opened)

    async def _list_resources(self, request: Request, reply: Reply, opened: Reach) -> None:
        for each in opened.each():
            await self.resources.refresh(structs.replace(request, principal=each.principal), each)
        self._list(request, reply, opened)

    def _list(self, request: Request, reply: Reply, opened: Reach) -> None:
        found = lists.answer(
            request,
            opened,
            page_size=settings.HUB.limits.page_size,
            ttl_ms=LIVE_TTL_MS if request.method == "resources/list" else LIST_TTL_MS,
            notes=self._notes(opened),
        )
        if isinstance(found, RpcError):
            reply.error(found)
            return
        reply.result(found)
        if request.session is not None:
            name = LIST_OF[lists.KIND_OF[request.method]]
            seen = digest(opened, request.revision, name)
            self.news.lists.listed(request.session.id, name, seen)
            if self.news.sessions is not None:
                self.news.sessions.listed(request.session.id, name, seen)

    def _absent(self, opened: Reach) -> list[str]:
        """Slugs of upstreams that do not answer now, as far as the principal may know of them."""
        return sorted(
            public_name(each.snapshot.org.slug, spec.slug) if opened.others else spec.slug
            for each in opened.each()
            for spec in each.specs()
            if self._connections.is_failing(spec.id) and each.sees(spec)
        )

    def _unconnected(self, opened: Reach) -> Mapping[str, str]:
        """Upstreams that want an account first, by the name that the principal knows, and where to connect."""
        connecting = self._pipeline.connecting
        if not opened.others:
            return connecting.unconnected(opened)
        return {
            public_name(each.snapshot.org.slug, slug): url
            for each in opened.each()
            for slug, url in connecting.unconnected(each).items()
        }

    def _notes(self, opened: Reach) -> dict[str, Any]:
        """What a list says beside itself: upstreams that do not answer now, and those that want an account first."""
        notes: dict[str, Any] = {}
        if absent := self._absent(opened):
            notes["mcphub/absent"] = absent
        if missing := self._unconnected(opened):
            notes["mcphub/connect"] = dict(missing)
        return notes

    def _described(self, opened: Reach) -> dict[str, Any]:
        return described(opened, self._connections.facts, self._unconnected(opened))

    def _greet(self, request: Request, reply: Reply, opened: Reach) -> None:
        said = self._described(opened)
        reply.result(encode({"protocolVersion": request.revision, **said}))

    def _discover(self, request: Request, reply: Reply, opened: Reach) -> None:
        said = self._described(opened)
        info = said.pop("serverInfo")
        reply.result(
            encode(
                {
                    "resultType": "complete",
                    "supportedVersions": [MODERN],
                    **said,
                    "ttlMs": LIST_TTL_MS,
                    "cacheScope": "private",
                    "_meta": {SERVER_INFO: info},
                }
            )
        )

    def _pong(self, request: Request, reply: Reply, opened: Reach) -> None:
        reply.result(b"{}")

    _methods: Final[Mapping[str, Callable[["Core", Request, Reply, Reach], None]]] = {
        **dict.fromkeys(lists.KIND_OF, _list),
        "initialize": _greet,
        "server/discover": _discover,
        "ping": _pong,
    }

    def _open_principal(self) -> Principal:
        org = next(iter(self._snapshots.orgs.values())).org
        return Principal("open", "open", "open mode", org, frozenset({"owner"}))
