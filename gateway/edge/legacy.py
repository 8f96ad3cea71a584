"""HTTP+SSE (2024-11-05): a GET stream that says where to POST; every answer comes on the stream."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from gateway.edge.config import EdgeConfig
from gateway.edge.duplex import Duplex
from gateway.edge.handshake import HandshakeEra
from gateway.edge.incoming import Caller, Incoming
from gateway.edge.pulse import Pulse
from gateway.edge.serving import still_allowed
from gateway.errors import INVALID_REQUEST, refused
from gateway.types import GatewayCore, Route

ID_BYTES: Final = 24
ID: Final = "session_id"


class LegacyWire:
    """The conversations over HTTP+SSE whose stream is open in this process."""

    def __init__(self, core: GatewayCore, era: HandshakeEra, pulse: Pulse, config: EdgeConfig) -> None:
        self._core = core
        self._era = era
        self._pulse = pulse
        self._config = config
        self._open: dict[str, Duplex] = {}

    async def listen(self, incoming: Incoming) -> None:
        """The stream of one conversation, from its `endpoint` event until one side ends it."""
        outlet = incoming.outlet
        outlet.sse = True
        gone = asyncio.Event()
        duplex = Duplex(self._era, incoming, outlet, gone.set)
        outlet.on_leave = duplex.dismiss
        outlet.still_allowed = lambda: self._still_allowed(incoming, duplex)
        id_ = secrets.token_urlsafe(ID_BYTES)
        self._open[id_] = duplex
        outlet.open_stream().put(self._endpoint(incoming.route, id_))
        self._pulse.add(outlet)
        try:
            await gone.wait()
        finally:
            del self._open[id_]
            self._pulse.discard(outlet)
            await duplex.end()
        await outlet.end_stream()

    def _still_allowed(self, incoming: Incoming, duplex: Duplex) -> bool:
        allowed = still_allowed(self._core, incoming)
        duplex.follow(incoming)
        return allowed

    def _endpoint(self, route: Route, id_: str) -> bytes:
        path = f"{self._config.path_prefix}{route.path.removesuffix('sse')}messages"
        return f"event: endpoint\r\ndata: {path}?{ID}={id_}\r\n\r\n".encode()

    async def post(self, incoming: Incoming, scope: Mapping[str, Any], message: Any, size: int) -> None:
        """Take one message. Raises `Refused`: 404 alike for a conversation that is unknown, over, or another's."""
        duplex = self._open.get(_asked(scope))
        if duplex is None or not _same(duplex.caller, incoming):
            raise refused(404, INVALID_REQUEST, "Session not found")
        duplex.follow(incoming)
        await duplex.take(message, size)
        await incoming.outlet.answer(202)


def _asked(scope: Mapping[str, Any]) -> str:
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get(ID, [""])[0]


def _same(one: Caller, other: Caller) -> bool:
    own, asking = one.principal, other.principal
    return own.id == asking.id and own.org.id == asking.org.id and one.route.path == other.route.path
