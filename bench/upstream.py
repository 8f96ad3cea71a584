"""A fast upstream, as raw ASGI: both eras, one `echo` tool and as many others as the path asks for.

`/mcp` has one tool; `/wide/50/…/mcp` has 50, whatever stands in the place of the dots.
`python -m bench.upstream PORT` serves it on loopback.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any, Final

import msgspec
import uvicorn

Message = MutableMapping[str, Any]

SCHEMA: Final = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
SERVER: Final = {"name": "bench", "version": "1"}
CAPABILITIES: Final = {"tools": {}}
JSON_HEADERS: Final = [(b"content-type", b"application/json")]


class _Params(msgspec.Struct, frozen=True, rename="camel"):
    arguments: dict[str, Any] = {}
    protocol_version: str = ""


class _Call(msgspec.Struct, frozen=True):
    method: str
    params: _Params = _Params()
    id: msgspec.Raw = msgspec.Raw(b"")


_decode: Final = msgspec.json.Decoder(_Call).decode
_encode: Final = msgspec.json.encode


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer one POST; every other method is refused, as a server without a stream of its own may."""
    if scope["method"] != "POST":
        await _send(send, 405, b"")
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    call = _decode(body)
    if not bytes(call.id):
        await _send(send, 202, b"")
        return
    modern = any(name == b"mcp-protocol-version" and value == b"2026-07-28" for name, value in scope["headers"])
    result = _result(call, scope["path"], modern)
    await _send(send, 200, b'{"jsonrpc":"2.0","id":' + bytes(call.id) + b',"result":' + result + b"}")


async def _send(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    headers = [*JSON_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _result(call: _Call, path: str, modern: bool) -> bytes:
    match call.method:
        case "tools/call":
            content = [{"type": "text", "text": call.params.arguments.get("text")}]
            return _encode({"content": content, "isError": False, **({"resultType": "complete"} if modern else {})})
        case "tools/list":
            return _tools(path, modern)
        case "initialize":
            facts = {"protocolVersion": call.params.protocol_version, "capabilities": CAPABILITIES}
            return _encode({**facts, "serverInfo": SERVER})
        case "server/discover":
            facts = {"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES, "serverInfo": SERVER}
            return _encode({**facts, "resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"})
        case _:
            return _encode({"resultType": "complete"} if modern else {})


@cache
def _tools(path: str, modern: bool) -> bytes:
    count = int(path.split("/")[2]) if path.startswith("/wide/") else 1
    names = ["echo", *(f"tool_{number:03}" for number in range(1, count))]
    tools = [
        {
            "name": name,
            "description": "Gives back the text that it was given. " * 6,
            "inputSchema": SCHEMA,
            "annotations": {"readOnlyHint": True},
        }
        for name in names
    ]
    extra = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"} if modern else {}
    return _encode({"tools": tools, **extra})


if __name__ == "__main__":
    uvicorn.run(
        application, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="error", lifespan="off"
    )
