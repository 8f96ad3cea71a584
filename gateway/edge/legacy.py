"""HTTP+SSE (2024-11-05): a GET stream that says where to POST; every answer comes on the stream."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, quote

import msgspec

from gateway.edge.config import EdgeConfig
from gateway.edge.duplex import Duplex
from gateway.edge.handshake import HandshakeEra
from gateway.edge.incoming import Caller, Incoming
from gateway.edge.pulse import Pulse
from gateway.edge.serving import still_allowed
from gateway.errors import INVALID_REQUEST, Refused, refused
from gateway.types import GatewayCore, Route
from mcphub.core.packing import pack, unpack
from mcphub.core.principal import Principal
from mcphub.core.workers import AnswerLost, Line, NotTaken, Workers
from upstreams.errors import RpcError

ID_BYTES: Final = 24
ID: Final = "session_id"
SUBJECT: Final = "legacy-message"


class Posted(msgspec.Struct):
    """A message for a conversation, and who sent it to which path."""

    id: str
    principal: Principal
    path: str
    message: Any
    size: int


class Refusal(msgspec.Struct):
    """Why a message was not taken."""

    status: int
    error: RpcError


class LegacyWire:
    """The conversations over HTTP+SSE. Their ids begin with the worker that has the stream and takes the messages."""

    def __init__(
        self, core: GatewayCore, era: HandshakeEra, pulse: Pulse, config: EdgeConfig, workers: Workers
    ) -> None:
        self._core = core
        self._era = era
        self._pulse = pulse
        self._config = config
        self._workers = workers
        self._open: dict[str, Duplex] = {}
        workers.answer(SUBJECT, self._post_elsewhere)

    async def listen(self, incoming: Incoming) -> None:
        """The stream of one conversation, from its `endpoint` event until one side ends it."""
        outlet = incoming.outlet
        outlet.sse = True
        gone = asyncio.Event()
        duplex = Duplex(self._era, incoming, outlet, gone.set)
        outlet.on_leave = duplex.dismiss
        outlet.still_allowed = lambda: self._still_allowed(incoming, duplex)
        id_ = self._workers.own + secrets.token_urlsafe(ID_BYTES)
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
        narrowed = f"&tools={quote(route.tools)}" if route.tools else ""
        return f"event: endpoint\r\ndata: {path}?{ID}={id_}{narrowed}\r\n\r\n".encode()

    async def post(self, incoming: Incoming, scope: Mapping[str, Any], message: Any, size: int) -> None:
        """Take one message. Raises `Refused`: 404 alike for a conversation that is unknown, over, or another's."""
        posted = Posted(_asked(scope), incoming.principal, incoming.route.bound, message, size)
        worker = posted.id[: len(self._workers.own)]
        if worker == self._workers.own:
            await self._take(posted)
            await incoming.outlet.answer(202)
            return
        try:
            answer = await self._workers.ask(worker, SUBJECT, pack(posted))
        except (NotTaken, AnswerLost):
            raise _unknown() from None
        if answer:
            refusal = unpack(answer, Refusal)
            raise Refused(refusal.status, refusal.error)
        await incoming.outlet.answer(202)

    async def _post_elsewhere(self, line: Line, body: bytes) -> bytes:
        try:
            await self._take(unpack(body, Posted))
        except Refused as refusal:
            return pack(Refusal(refusal.status, refusal.error))
        return b""

    async def _take(self, posted: Posted) -> None:
        duplex = self._open.get(posted.id)
        if duplex is None or not _same(duplex.caller, posted):
            raise _unknown()
        duplex.follow(msgspec.structs.replace(duplex.caller, principal=posted.principal))
        await duplex.take(posted.message, posted.size)


def _asked(scope: Mapping[str, Any]) -> str:
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get(ID, [""])[0]


def _same(caller: Caller, posted: Posted) -> bool:
    own, asking = caller.principal, posted.principal
    return own.id == asking.id and own.org.id == asking.org.id and caller.route.bound == posted.path


def _unknown() -> Refused:
    return refused(404, INVALID_REQUEST, "Session not found")
