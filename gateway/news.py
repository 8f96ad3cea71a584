"""What clients hear without a call: changed lists, updated resources, log messages; each only whom it concerns."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from msgspec.structs import replace

from audit.events import Kind
from audit.flood import Denials
from gateway.calls import Refused, decision_on, resources_read
from gateway.connecting import Connecting
from gateway.errors import INVALID_PARAMS
from gateway.failures import Failure, rpc_error, unknown
from gateway.relay import encode
from gateway.rounds import without
from gateway.router import Reach
from gateway.run import holder_of, intent_of
from gateway.sessions import LiveSession, Sessions
from gateway.subscriptions import Digests, Standing, Subscriptions, Watch, digests, honoured
from gateway.types import NotFound, Notification, Reply, Request, Route, SessionRef
from gateway.watching import Place, Subscriber, Watchers
from mcphub.core.limits import Limits
from mcphub.core.principal import Principal
from upstreams.connection import UPDATED
from upstreams.connections import Connections
from upstreams.errors import RpcError
from upstreams.loglevels import LEVELS, MESSAGE, is_heard
from upstreams.types import BETWEEN, ClientFacts, UpstreamSpec

ELICITED: Final = "notifications/elicitation/complete"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
NOT_WATCHED: Final = Failure(
    "approval_pending",
    "A rule asks a person each time that this resource is read, so it cannot be watched; read it to ask.",
    "not_sent",
)


class Look(Protocol):
    """What a client may reach now."""

    def __call__(self, principal: Principal, route: Route, client: ClientFacts) -> Reach:
        """Raises `NotFound` when nothing is open to it any more."""


class News:
    """The news of this process: who wants to hear what, and how it gets there."""

    def __init__(
        self, look: Look, connections: Connections, limits: Limits, denials: Denials, connecting: Connecting
    ) -> None:
        self.sessions: Sessions | None = None
        self.lists: Final = Subscriptions(self._standing)
        self._look = look
        self._connections = connections
        self._limits = limits
        self._denials = denials
        self._connecting = connecting
        self._watchers = Watchers(connections)
        self._subscribers: dict[str, Subscriber] = {}

    # --- what clients ask for ------------------------------------------------------------------------

    async def listen(self, request: Request, reply: Reply, opened: Reach) -> None:
        """`subscriptions/listen`: the stream stays open until the client leaves or the hub ends it."""
        stamp = {"_meta": {SUBSCRIPTION_ID: request.id}}
        wanted = honoured(request.params)
        look = partial(self._look, request.principal, request.route, request.client)
        seen = digests(opened, request.revision)
        watch = Watch(
            lambda: digests(look(), request.revision),
            lambda method: reply.notify(method, stamp),
            {name: seen[name] for name in wanted},
        )
        subscriber = Subscriber(look, lambda uri: reply.notify(UPDATED, {"uri": uri, **stamp}), ready=False)
        self.lists.add(watch)
        try:
            filter_: dict[str, Any] = {f"{name}ListChanged": True for name in wanted}
            if uris := await self._honoured(request, opened, subscriber):
                filter_["resourceSubscriptions"] = uris
            reply.notify(ACKNOWLEDGED, {"notifications": filter_, **stamp})
            subscriber.ready = True
            subscriber.flush()
            await asyncio.Future()
        except asyncio.CancelledError:
            reply.result(_ended(request))
            raise
        finally:
            self.lists.discard(watch)
            self._watchers.drop(subscriber)

    async def subscribe(self, request: Request, reply: Reply, opened: Reach) -> None:
        """`resources/subscribe` of a session."""
        if request.session is None:
            reply.error(RpcError(INVALID_PARAMS, "There is no session to tell"))
            return
        place = self._place(request, opened, request.params.get("uri"))
        if isinstance(place, RpcError):
            reply.error(place)
            return
        subscriber = self._subscriber(request, request.session)
        if len(subscriber.places) >= self._limits.subscriptions:
            reply.error(RpcError(INVALID_PARAMS, f"A session watches {self._limits.subscriptions} resources at most"))
            return
        failed = (await self._watchers.subscribe(subscriber, [place])).get(place.shown)
        if failed is None:
            reply.result(b"{}")
        elif isinstance(failed, RpcError):
            reply.error(failed)
        else:
            reply.error(rpc_error(self._connecting.lacking(place.spec, opened, failed)))

    async def unsubscribe(self, request: Request, reply: Reply, opened: Reach) -> None:
        """`resources/unsubscribe`; what is not watched is as good as unsubscribed."""
        uri = request.params.get("uri")
        if not isinstance(uri, str):
            reply.error(RpcError(INVALID_PARAMS, "uri must be a string"))
            return
        if request.session is not None:
            await self.unsubscribe_here(request.session.id, uri)
            if self.sessions is not None:
                self.sessions.tell("unsubscribed", request.session.id, {"uri": uri})
        reply.result(b"{}")

    async def unsubscribe_here(self, session_id: str, uri: str) -> None:
        """The part of it that concerns this process."""
        if subscriber := self._subscribers.get(session_id):
            await self._watchers.unsubscribe(subscriber, [uri])

    async def set_level(self, request: Request, reply: Reply, opened: Reach) -> None:
        """`logging/setLevel`: kept with the session, and told to upstreams. Raises `Unavailable`."""
        level = request.params.get("level")
        if not isinstance(level, str) or level not in LEVELS:
            reply.error(RpcError(INVALID_PARAMS, f"level must be one of {', '.join(LEVELS)}"))
            return
        if self.sessions is not None and request.session is not None:
            await self.sessions.set_log_level(request.session.id, level)
            client = replace(request.client, log_level=level)
            lowered = (
                self._connections.lower(spec.id, without(client, spec.withheld), holder_of(request, spec))
                for spec in opened.specs()
                if opened.sees(spec)
            )
            await asyncio.gather(*lowered)
        reply.result(b"{}")

    async def roots_changed(self, note: Notification, opened: Reach) -> None:
        """Tell the upstreams to which this client's roots were declared, each on the connection that did."""
        if note.session is None or "roots" not in note.session.client.capabilities:
            return
        client = note.session.client
        told = (
            self._connections.roots_changed(spec.id, without(client, spec.withheld), holder_of(note, spec))
            for spec in opened.specs()
            if "roots" not in spec.withheld and opened.sees(spec)
        )
        await asyncio.gather(*told)

    # --- what upstreams say --------------------------------------------------------------------------

    def noticed(self, upstream_id: str, holder: str, method: str, params: Mapping[str, Any]) -> None:
        """A notification of an upstream that belongs to no exchange (`Connections.on_notice`)."""
        if method == UPDATED and isinstance(uri := params.get("uri"), str):
            self._watchers.updated(upstream_id, holder, uri)
        elif method in (MESSAGE, ELICITED) and holder:
            self._pass_on(upstream_id, holder, method, params)

    def upstream_returned(self, spec: UpstreamSpec) -> None:
        """An upstream was switched on again (`Connections.on_return`)."""
        self._watchers.returned(spec)

    def session_ended(self, session_id: str) -> None:
        """Nobody is told any more."""
        self.lists.forget(session_id)
        if subscriber := self._subscribers.pop(session_id, None):
            self._watchers.drop(subscriber)

    def _pass_on(self, upstream_id: str, holder: str, method: str, params: Mapping[str, Any]) -> None:
        """To the sessions of its holder that listen here and reach the upstream; of log messages what they want."""
        for session in self.sessions.listening() if self.sessions else ():
            of_session = f"{session.principal.id}{BETWEEN}{session.ref.id}"
            concerned = holder in (session.ref.id, session.principal.id, of_session)
            heard = method == ELICITED or is_heard(params, session.ref.client.log_level)
            if concerned and heard and self._sees(session, upstream_id):
                session.push(method, params)

    def _sees(self, session: LiveSession, upstream_id: str) -> bool:
        try:
            reach = self._look(session.principal, session.route, session.ref.client)
        except NotFound:
            return False
        return any(spec.id == upstream_id and reach.sees(spec) for spec in reach.specs())

    # --- who listens ---------------------------------------------------------------------------------

    async def _honoured(self, request: Request, opened: Reach, subscriber: Subscriber) -> list[str]:
        """The resources of a `subscriptions/listen` filter that are watched from now on."""
        asked = request.params.get("notifications")
        uris = asked.get("resourceSubscriptions") if isinstance(asked, dict) else None
        if not isinstance(uris, list):
            return []
        found = [self._place(request, opened, uri) for uri in uris[: self._limits.subscriptions]]
        places = [place for place in found if isinstance(place, Place)]
        failed = await self._watchers.subscribe(subscriber, places)
        return [place.shown for place in places if place.shown not in failed]

    def _place(self, request: Request, opened: Reach, uri: Any) -> Place | RpcError:
        """Where a resource is watched, if this principal may read it. A denial is recorded, watching is not.

        Watched is at the endpoint of one org.
        """
        if opened.others:
            return unknown("resource", str(uri))
        try:
            call = resources_read({"uri": uri}, opened)
        except Refused as refused:
            return refused.error
        decision = decision_on(call, opened)
        if decision.effect != "allow":
            denied = replace(intent_of(request, call, decision), kind=Kind.DENIED)
            if decision.effect == "ask":
                self._denials.add(replace(denied, reason=NOT_WATCHED.text))
                return rpc_error(NOT_WATCHED, denied.call_id)
            self._denials.add(denied)
            return unknown("resource", call.shown_as)
        client = without(request.client, call.spec.withheld)
        return Place(call.spec, client, holder_of(request, call.spec), call.target, call.shown_as)

    def _subscriber(self, request: Request, session: SessionRef) -> Subscriber:
        found = self._subscribers.get(session.id)
        if found is None:
            look = partial(self._look, request.principal, request.route, request.client)
            found = self._subscribers[session.id] = Subscriber(look, partial(self._updated, session.id))
        return found

    def _updated(self, session_id: str, uri: str) -> None:
        if self.sessions is not None:
            self.sessions.push(session_id, UPDATED, {"uri": uri})

    def _standing(self) -> Iterable[Standing]:
        """The handshake sessions whose stream is open here."""
        for session in self.sessions.listening() if self.sessions else ():
            yield session.ref.id, partial(self._digests, session), partial(_push, session)

    def _digests(self, session: LiveSession) -> Digests:
        return digests(self._look(session.principal, session.route, session.ref.client), session.ref.revision)


def _ended(request: Request) -> bytes:
    """The result that ends a `subscriptions/listen` deliberately."""
    return encode({"resultType": "complete", "_meta": {SUBSCRIPTION_ID: request.id}})


def _push(session: LiveSession, method: str) -> None:
    session.push(method, {})
