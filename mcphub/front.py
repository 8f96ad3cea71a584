"""What stands between the server and Django: who may ask, and what a proxy may say."""

import json
from typing import Any, Final

from django.conf import settings

from gateway.edge.config import EdgeConfig
from gateway.edge.guard import Guard
from gateway.errors import Refused
from gateway.server.drain import App, Receive, Scope, Send
from mcphub.core.peer import proxies


class Front:
    """`app` behind the same Host and Origin rules as the MCP endpoints (421 and 403).

    Of the forwarding headers the scheme is taken over here, and from `MCPHUB_TRUSTED_PROXIES` only.
    """

    def __init__(self, app: App) -> None:
        self._app: Final = app
        self._guard: Final = Guard(EdgeConfig.of(settings.HUB))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._guard.check(dict(scope["headers"]))
        except Refused as refusal:
            await answer(send, refusal.status, {"error": str(refusal)})
            return
        await self._app(_as_the_client_asked(scope), receive, send)


def _as_the_client_asked(scope: Scope) -> Scope:
    """The scope with the scheme that the client used, when a trusted proxy ended its TLS."""
    peer, _ = scope.get("client") or ("", 0)
    forwarded = dict(scope["headers"]).get(b"x-forwarded-proto", b"").decode("latin-1")
    scheme = proxies(settings.HUB.trusted_proxies).scheme(peer, scope["scheme"], forwarded)
    return scope if scheme == scope["scheme"] else {**scope, "scheme": scheme}


async def answer(send: Send, status: int, document: Any, *, head: bool = False) -> None:
    """A whole response with JSON in it; with `head` without its body."""
    body = json.dumps(document).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})
