"""POSTs of the modern era: one independent request each."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.edge.asks import Asks
from gateway.edge.incoming import Incoming
from gateway.edge.outlet import Outlet
from gateway.edge.places import Places
from gateway.edge.pulse import Pulse
from gateway.edge.reply import Reply
from gateway.edge.serving import serve, still_allowed
from gateway.eras.jsonrpc import id_text, kind_of
from gateway.eras.methods import ONLY_IN
from gateway.eras.modern import VERSION_HEADER, check_notification, open_envelope, param_headers
from gateway.errors import INVALID_REQUEST, METHOD_NOT_FOUND, Refused, refused
from gateway.types import GatewayCore, Request
from upstreams.types import MODERN

LISTEN: Final = "subscriptions/listen"
NO_HEADERS: Final[Mapping[str, str]] = {}


class ModernEra:
    """Answers modern POSTs. A client that leaves has cancelled."""

    def __init__(self, core: GatewayCore, pulse: Pulse, asks: Asks, places: Places) -> None:
        self._core = core
        self._pulse = pulse
        self._places = places
        self._asks = asks

    async def post(self, incoming: Incoming, message: Any, size: int) -> None:
        """Answer one message. Raises `Refused` when it is none."""
        kind = kind_of(message)
        if kind == "request":
            try:
                await self._request(incoming, message, size)
            except Refused as refusal:
                await incoming.outlet.refuse(refusal, id_text(message["id"]))
        elif kind == "notification":
            # The era has no client notifications over HTTP; acting on one by a client-chosen id would let
            # strangers cancel each other's calls.
            check_notification(incoming.headers.get(VERSION_HEADER))
            await incoming.outlet.answer(202)
        else:
            raise refused(400, INVALID_REQUEST, "The body must be one request or notification")

    async def _request(self, incoming: Incoming, message: dict[str, Any], size: int) -> None:
        method = message["method"]
        envelope = open_envelope(message, incoming.headers, size)
        outlet = incoming.outlet
        if ONLY_IN.get(method) == "handshake":
            raise refused(404, METHOD_NOT_FOUND, f"Method not found: {method}")
        if method == LISTEN and not outlet.sse:
            raise refused(406, INVALID_REQUEST, f"{LISTEN} answers with events; Accept must name text/event-stream")
        request = Request(
            route=incoming.route,
            principal=incoming.principal,
            era="modern",
            revision=MODERN,
            id=message["id"],
            method=method,
            params=message["params"],
            client=envelope.client,
            progress_token=envelope.progress_token,
            source=incoming.source,
            received_bytes=size,
            trace=envelope.trace,
            param_headers=param_headers(incoming.headers) if method == "tools/call" else NO_HEADERS,
            headers=self._core.carried(incoming.principal.org.id, incoming.headers),
        )
        reply = Reply(outlet, "modern", request.id, request.progress_token, self._asks)
        outlet.on_leave = reply.cancel
        if method == LISTEN:
            outlet.still_allowed = lambda: still_allowed(self._core, incoming)
            with self._places.hold(incoming.principal.id):
                await self._serve(request, reply, outlet)
        else:
            await self._serve(request, reply, outlet)
        await outlet.finish(reply.status, reply.body)

    async def _serve(self, request: Request, reply: Reply, outlet: Outlet) -> None:
        self._pulse.add(outlet)
        try:
            await serve(self._core, request, reply)
        finally:
            self._pulse.discard(outlet)
