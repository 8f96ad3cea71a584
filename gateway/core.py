"""The core behind the edge: who asks, what the route opens, and which part answers the method."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from django.conf import settings

from gateway import lists
from gateway.calls import READERS
from gateway.eras.levels import LOG_LEVELS
from gateway.errors import INVALID_PARAMS, METHOD_NOT_FOUND
from gateway.facts import described
from gateway.mirrored import check_mirrored
from gateway.pipeline import Pipeline
from gateway.relay import SERVER_INFO, encode
from gateway.router import Reach, reach
from gateway.sessions import LiveSession, Sessions
from gateway.snapshot import Snapshots
from gateway.subscriptions import LIST_OF, Digests, Standing, Subscriptions, Watch, digest, digests, honoured
from gateway.types import Credentials, NotFound, Notification, Reply, Request, Route, Unauthenticated
from mcphub.accounts.selectors import KeyRecord, touch_key
from mcphub.accounts.services import rehash_key
from mcphub.core import aio, clock, tokens
from mcphub.core.principal import Principal
from upstreams.connections import Connections
from upstreams.errors import RpcError
from upstreams.types import MODERN, ClientFacts

LIST_TTL_MS: Final = 60_000
TOUCH_EVERY_S: Final = 60
LISTEN: Final = "subscriptions/listen"
SET_LEVEL: Final = "logging/setLevel"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"


class Core:
    """Implements `gateway.types.GatewayCore` over one process's snapshot, connections and audit writer."""

    def __init__(self, snapshots: Snapshots, connections: Connections, pipeline: Pipeline) -> None:
        self._snapshots = snapshots
        self._connections = connections
        self._pipeline = pipeline
        self.sessions: Sessions | None = None
        self.subscriptions: Final = Subscriptions(self._standing)
        self._touched: dict[str, float] = {}

    async def fresh(self) -> None:
        """See `GatewayCore.fresh`."""
        await self._snapshots.fresh()

    def authenticate(self, credentials: Credentials, route: Route, source: str) -> Principal:
        """See `GatewayCore.authenticate`."""
        principal = self._principal(credentials, source)
        if route.org and route.org != principal.org.slug:
            raise NotFound
        return principal

    def _principal(self, credentials: Credentials, source: str) -> Principal:
        if credentials.scheme == "none" and settings.START.no_auth:
            return self._open_principal()
        for public_id in tokens.public_ids_of(credentials.secret):
            record = self._snapshots.keys.get(public_id)
            if record is not None and _opens(record, credentials.secret):
                self._touch(record, credentials.secret, source)
                return record.principal
        raise Unauthenticated

    async def handle(self, request: Request, reply: Reply) -> None:
        """See `GatewayCore.handle`."""
        opened = self._reach(request.principal, request.route, request.client)
        if request.method in READERS:
            if opened.snapshot.catalogue.mirrors and request.era == "modern":
                check_mirrored(request, opened)
            await self._pipeline.run(request, reply, opened, self._again)
        elif request.method == LISTEN:
            await self._listen(request, reply)
        elif request.method == SET_LEVEL:
            await self._set_level(request, reply)
        elif (method := self._methods.get(request.method)) is not None:
            method(self, request, reply, opened)
        else:
            reply.error(RpcError(METHOD_NOT_FOUND, f"Method not found: {request.method}"), 404)

    def _reach(self, principal: Principal, route: Route, client: ClientFacts) -> Reach:
        snapshot = self._snapshots.orgs.get(principal.org.id)
        if snapshot is None:
            raise NotFound
        return reach(snapshot, principal, route, client, settings.START.single_upstream)

    def _again(self, request: Request) -> Reach:
        """What `request` may reach by now, a wait later. Raises `NotFound` when its key has ended."""
        principal = request.principal
        if principal.credential:
            record = self._snapshots.keys.get(principal.credential)
            if record is None or (record.expires_at is not None and record.expires_at <= time.time()):
                raise NotFound
            principal = record.principal
        return self._reach(principal, request.route, request.client)

    async def notified(self, note: Notification) -> None:
        """See `GatewayCore.notified`. Cancellation is the edge's; the rest concerns nobody yet."""

    def _list(self, request: Request, reply: Reply, opened: Reach) -> None:
        found = lists.answer(
            request,
            opened,
            page_size=settings.HUB.limits.page_size,
            ttl_ms=LIST_TTL_MS,
            absent=self._absent(opened),
        )
        if isinstance(found, RpcError):
            reply.error(found)
            return
        reply.result(found)
        if request.session is not None:
            name = LIST_OF[lists.KIND_OF[request.method]]
            seen = digest(opened, request.revision, name)
            self.subscriptions.listed(request.session.id, name, seen)
            if self.sessions is not None:
                self.sessions.listed(request.session.id, name, seen)

    async def _listen(self, request: Request, reply: Reply) -> None:
        """`subscriptions/listen`: the stream stays open until the client leaves or the hub ends it."""
        wanted = honoured(request.params)
        stamp = {"_meta": {SUBSCRIPTION_ID: request.id}}

        def look() -> Digests:
            return digests(self._reach(self._now(request.principal), request.route, request.client), request.revision)

        now = look()
        watch = Watch(look, lambda method: reply.notify(method, stamp), {name: now[name] for name in wanted})
        reply.notify(
            "notifications/subscriptions/acknowledged",
            {"notifications": {f"{name}ListChanged": True for name in wanted}, **stamp},
        )
        self.subscriptions.add(watch)
        try:
            await asyncio.Future()
        finally:
            self.subscriptions.discard(watch)

    async def _set_level(self, request: Request, reply: Reply) -> None:
        """`logging/setLevel`: kept with the session, for every worker. Raises `Unavailable`."""
        level = request.params.get("level")
        if not isinstance(level, str) or level not in LOG_LEVELS:
            reply.error(RpcError(INVALID_PARAMS, f"level must be one of {', '.join(LOG_LEVELS)}"))
            return
        if self.sessions is not None and request.session is not None:
            await self.sessions.set_log_level(request.session.id, level)
        reply.result(b"{}")

    def _standing(self) -> Iterable[Standing]:
        """The handshake sessions whose stream is open here."""
        for session in self.sessions.listening() if self.sessions else ():
            yield session.ref.id, partial(self._look, session), partial(_push, session)

    def _look(self, session: LiveSession) -> Digests:
        opened = self._reach(self._now(session.principal), session.route, session.ref.client)
        return digests(opened, session.ref.revision)

    def _now(self, principal: Principal) -> Principal:
        """The principal as the snapshot has it now: roles may have changed since the stream was opened."""
        record = self._snapshots.keys.get(principal.credential)
        return record.principal if record is not None else principal

    def _absent(self, opened: Reach) -> list[str]:
        """Slugs of upstreams that do not answer now, as far as the principal may know of them."""
        failing = [spec for spec in opened.specs() if self._connections.is_failing(spec.id)]
        return sorted(spec.slug for spec in failing if opened.sees(spec))

    def _greet(self, request: Request, reply: Reply, opened: Reach) -> None:
        said = described(opened, self._connections.facts)
        reply.result(encode({"protocolVersion": request.revision, **said}))

    def _discover(self, request: Request, reply: Reply, opened: Reach) -> None:
        said = described(opened, self._connections.facts)
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

    def _touch(self, record: KeyRecord, secret: str, source: str) -> None:
        """Note the key's use, at most once a minute; a hash under an older ring key moves to the newest."""
        now = clock.monotonic()
        if now - self._touched.get(record.id, float("-inf")) >= TOUCH_EVERY_S:
            self._touched[record.id] = now
            aio.spawn(aio.in_thread(touch_key, record.id, source), name="touch-key")
            if tokens.needs_rehash(record.digest_key_id):
                aio.spawn(aio.in_thread(rehash_key, record.id, secret), name="rehash-key")


def _opens(record: KeyRecord, secret: str) -> bool:
    unexpired = record.expires_at is None or record.expires_at > time.time()
    return tokens.matches(secret, record.digest, record.digest_key_id) and unexpired


def _push(session: LiveSession, method: str) -> None:
    session.push(method, {})
