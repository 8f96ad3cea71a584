"""A server that answers both eras, made one that has never heard of the other."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Literal

Era = Literal["handshake", "modern"]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MODERN: Final = b"2026-07-28"
REFUSAL: Final = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: unsupported protocol version"}}'
)


def only(era: Era, app: App) -> App:
    """`app` without the other era, whose requests it refuses as servers did that were written before or after it."""

    async def one_era(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _era_of(scope) != era:
            await _refuse(send)
        else:
            await app(scope, receive, send)

    return one_era


def _era_of(scope: Scope) -> Era:
    return "modern" if dict(scope["headers"]).get(b"mcp-protocol-version") == MODERN else "handshake"


async def _refuse(send: Send) -> None:
    await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": REFUSAL})
