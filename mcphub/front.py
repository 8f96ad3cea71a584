"""What stands between the server and Django: who may ask, and what a proxy may say."""

import json
from typing import Any, Final

from django.conf import settings

from gateway.edge.config import EdgeConfig
from gateway.edge.guard import Guard
from gateway.errors import Refused
from gateway.server.drain import App, Receive, Scope, Send
from mcphub.core.peer import is_trusted

FORWARDING: Final = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"}
)


class Front:
    """`app` behind the same Host and Origin rules as the MCP endpoints (421 and 403).

    Forwarding headers are believed from `MCPHUB_TRUSTED_PROXIES` only: from others the application does not
    see them at all.
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
        await self._app(_from_proxy(scope), receive, send)


def _from_proxy(scope: Scope) -> Scope:
    client = scope.get("client")
    if client and is_trusted(str(client[0]), settings.HUB.trusted_proxies):
        return scope
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in FORWARDING]}


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
