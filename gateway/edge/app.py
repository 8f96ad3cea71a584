"""The MCP edge as one raw ASGI application: every MCP path, both eras."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from gateway.edge import paths
from gateway.edge.asks import Asks
from gateway.edge.auth import challenge, credentials_of
from gateway.edge.body import ClientLeft, Receive, check_declared, read_body
from gateway.edge.config import EdgeConfig
from gateway.edge.guard import Guard, check_duplicates, preflight
from gateway.edge.handshake import HandshakeEra
from gateway.edge.incoming import Caller, Incoming, accepted, check_media
from gateway.edge.legacy import LegacyWire
from gateway.edge.listening import Listening
from gateway.edge.modern import ModernEra
from gateway.edge.outlet import Outlet
from gateway.edge.places import Places
from gateway.edge.pulse import Pulse
from gateway.edge.source import Sources
from gateway.edge.stream import Send
from gateway.edge.trails import Trails
from gateway.edge.websocket import Socket, deny
from gateway.eras.modern import HANDSHAKE_HEADERS, VERSION_HEADER, is_modern
from gateway.errors import INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, Header, Refused, TooManyAttempts, refused
from gateway.server.drain import drain
from gateway.sessions import SWEEP_S, Sessions
from gateway.types import Credentials, GatewayCore, NeedsScope, NotFound, Route, Unauthenticated, Unavailable
from mcphub.core.aio import cancel, spawn
from mcphub.core.principal import Principal
from mcphub.core.strictjson import BadJson, loads
from mcphub.core.workers import Workers

METHODS: Final = {"streamable": ("POST", "GET", "DELETE"), "sse": ("GET",), "messages": ("POST",)}

log = structlog.get_logger(__name__)


class EdgeApp:
    """Serves the paths of `gateway.edge.paths` over HTTP for one core."""

    def __init__(self, core: GatewayCore, config: EdgeConfig, workers: Workers) -> None:
        self.config = config
        self.sessions = Sessions(config.limits)
        self._core = core
        self._guard = Guard(config)
        self._sources = Sources(config)
        self._pulse = Pulse(config.limits.keepalive_s)
        asks = Asks(workers)
        self._places = Places(config.limits)
        self._trails = Trails(config.limits, workers.own)
        listening = Listening(core, self.sessions, self._pulse, self._places, self._trails, workers)
        self._modern = ModernEra(core, self._pulse, asks, self._places)
        self._handshake = HandshakeEra(core, self.sessions, self._pulse, asks, self._trails, listening)
        self._legacy = LegacyWire(core, self._handshake, self._pulse, config, workers)
        self.sessions.on_ended.append(self._trails.forget)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin the background work: the sweep of sessions, and the end of news when the hub goes down."""
        self._tasks = [
            spawn(self._sweep(), name="edge-session-sweep"),
            spawn(self._say_goodbye(), name="edge-goodbye"),
        ]

    async def stop(self) -> None:
        """End the background work."""
        await cancel(*self._tasks)
        self._pulse.stop()

    def under_way(self) -> int:
        """How many responses are under way, open streams included."""
        return self._pulse.under_way()

    @property
    def open_streams(self) -> int:
        """How many long-lived streams and connections clients hold here."""
        return self._places.taken

    @staticmethod
    def serves(path: str) -> bool:
        """Whether `path` is an MCP endpoint by its syntax."""
        return paths.parse(path) is not None

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        outlet = Outlet(receive, send, self.config.limits)
        try:
            await self._core.fresh()
            incoming = await self._admit(scope, outlet)
            if incoming is None:
                await outlet.answer(204, headers=preflight(dict(scope["headers"])))
            elif scope["method"] == "POST":
                await self._post(incoming, receive, scope)
            elif incoming.route.wire == "sse":
                with self._places.hold(incoming.principal.id):
                    await self._legacy.listen(incoming)
            else:
                await self._get_or_delete(incoming, scope["method"])
        except Refused as refusal:
            await outlet.refuse(refusal)
        except Unavailable as unavailable:
            await outlet.refuse(_unavailable(unavailable))
        except ClientLeft:
            return
        except Exception:  # the top of a request: whatever it was, the client learns no more than that
            log.exception("edge_failed")
            if not outlet.begun:
                await outlet.refuse(refused(500, INTERNAL_ERROR, "Internal error"))

    async def websocket(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one WebSocket on an MCP path."""
        await receive()
        try:
            await self._core.fresh()
            headers = single(scope["headers"])
            self._guard.check(headers)
            route = routed(scope)
            if route.wire != "streamable":
                raise refused(404, INVALID_REQUEST, "Not found")
            caller = Caller(headers, route, *await self._authenticated(scope, headers, route))
            with self._places.hold(caller.principal.id):
                socket = Socket(self._core, self._handshake, caller, send, self.config.limits)
                await socket.serve(receive, self._pulse, scope.get("subprotocols", ()))
        except Refused as refusal:
            await deny(send, refusal)
        except Unavailable as unavailable:
            await deny(send, _unavailable(unavailable))

    async def _admit(self, scope: Mapping[str, Any], outlet: Outlet) -> Incoming | None:
        """Who asks for what; None for a CORS preflight. Raises `Refused`, `Unavailable`."""
        headers = single(scope["headers"])
        outlet.cors = self._guard.check(headers)
        route = routed(scope)
        method = scope["method"]
        if method == "OPTIONS":
            return None
        if method not in METHODS[route.wire]:
            allowed = ", ".join((*METHODS[route.wire], "OPTIONS")).encode()
            raise refused(405, INVALID_REQUEST, "Method not allowed", ((b"allow", allowed),))
        return Incoming(headers, route, *await self._authenticated(scope, headers, route), outlet)

    async def _authenticated(
        self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], route: Route
    ) -> tuple[Credentials, Principal, str]:
        """What was presented, whose it is, and from where. Raises `Refused`, `Unavailable`."""
        credentials = credentials_of(headers)
        source = self._sources.address(scope, headers)
        try:
            principal = await self._core.authenticate(credentials, route, source)
        except Unauthenticated:
            why = "" if credentials.scheme == "none" else "invalid_token"
            raise self._challenged(401, "Authentication required", scope, headers, route, why) from None
        except NeedsScope as needs:
            message = f"The credential was issued without the scope {needs.scope}"
            raise self._challenged(403, message, scope, headers, route, "insufficient_scope") from None
        except NotFound:
            raise refused(404, INVALID_REQUEST, "Not found") from None
        except TooManyAttempts as error:
            raise refused(429, INVALID_REQUEST, "Too many attempts", (_retry_after(error.retry_after),)) from None
        return credentials, principal, source

    def _challenged(
        self,
        status: int,
        message: str,
        scope: Mapping[str, Any],
        headers: Mapping[bytes, bytes],
        route: Route,
        why: str,
    ) -> Refused:
        value = challenge(self.config, route, self._sources.base_url(scope, headers), why)
        return refused(status, INVALID_REQUEST, message, ((b"www-authenticate", value),))

    async def _post(self, incoming: Incoming, receive: Receive, scope: Mapping[str, Any]) -> None:
        check_declared(incoming.headers, self.config.limits)
        check_media(incoming)
        body = await read_body(receive, self.config.limits)
        try:
            message = loads(body)
        except BadJson as error:
            raise refused(400, PARSE_ERROR, f"Parse error: {error}") from None
        if incoming.route.wire == "messages":
            await self._legacy.post(incoming, scope, message, len(body))
        elif is_modern(incoming.headers.get(VERSION_HEADER), message):
            await self._modern.post(incoming, message, len(body))
        else:
            await self._handshake.post(incoming, message, len(body))

    async def _get_or_delete(self, incoming: Incoming, method: str) -> None:
        version = incoming.headers.get(VERSION_HEADER)
        if version is not None and version not in HANDSHAKE_HEADERS:
            raise refused(405, INVALID_REQUEST, "This revision has POST only", ((b"allow", b"POST"),))
        if method == "DELETE":
            await self._handshake.delete(incoming)
        elif accepted(incoming.headers.get(b"accept", b"*/*"))[1]:
            await self._handshake.listen(incoming)
        else:
            raise refused(406, INVALID_REQUEST, "Accept must name text/event-stream")

    async def _say_goodbye(self) -> None:
        """End the streams that carry nothing but news once a draining hub takes no more requests."""
        await drain().refusing.wait()
        self._pulse.dismiss_long_lived()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._trails.tidy()
            try:
                await self.sessions.sweep()
            except Unavailable:
                log.warning("session_sweep_postponed")


def single(raw: Sequence[Header]) -> dict[bytes, bytes]:
    """Headers by name. Raises `Refused` when one that decides something is there twice."""
    headers = dict(raw)
    if len(headers) != len(raw):
        check_duplicates(raw)
    return headers


def routed(scope: Mapping[str, Any]) -> Route:
    """The endpoint that is asked for. Raises `Refused`: 404 where there is none, 400 for globs that are none."""
    route = paths.parse(scope["path"])
    if route is None:
        raise refused(404, INVALID_REQUEST, "Not found")
    if not (query := scope.get("query_string")):
        return route
    try:
        return paths.narrowed(route, query)
    except ValueError as fault:
        raise refused(400, INVALID_REQUEST, str(fault)) from None


def _unavailable(unavailable: Unavailable) -> Refused:
    return Refused(503, unavailable.error, (_retry_after(unavailable.retry_after),))


def _retry_after(seconds: int) -> tuple[bytes, bytes]:
    return (b"retry-after", b"%d" % seconds)
