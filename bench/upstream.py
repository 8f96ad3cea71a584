"""A fast upstream on bare asyncio: both eras, one `echo` tool and as many others as the path asks for.

It shares a core with the load generator, so whatever it spends is missing there: 13 µs a call, where the same as
an ASGI application under uvicorn costs 36.

`/mcp` has one tool; `/wide/50/…/mcp` has 50, whatever stands in the place of the dots.
`python -m bench.upstream PORT` serves it on loopback.
"""

import asyncio
import sys
from functools import cache
from typing import Any, Final

import httptools
import msgspec
import uvloop

SCHEMA: Final = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
SERVER: Final = {"name": "bench", "version": "1"}
CAPABILITIES: Final = {"tools": {}}
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
NO_STREAM: Final = b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n"


class _Params(msgspec.Struct, frozen=True, rename="camel"):
    arguments: dict[str, Any] = {}
    protocol_version: str = ""


class _Call(msgspec.Struct, frozen=True):
    method: str
    params: _Params = _Params()
    id: msgspec.Raw = msgspec.Raw(b"")


_decode: Final = msgspec.json.Decoder(_Call).decode
_encode: Final = msgspec.json.encode


class Served(asyncio.Protocol):
    """One connection. POSTs are answered; any other method is refused, as a server without streams may."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path = b""
        self._body = b""
        self._modern = False

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if value == b"2026-07-28" and name.lower() == b"mcp-protocol-version":
            self._modern = True

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() != b"POST":
            self._transport.write(NO_STREAM)
            return
        call = _decode(self._body)
        if not bytes(call.id):
            self._transport.write(ACCEPTED)
            return
        result = _result(call, self._path.decode(), self._modern)
        body = b'{"jsonrpc":"2.0","id":' + bytes(call.id) + b',"result":' + result + b"}"
        self._transport.write(OK % len(body) + body)


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


async def serve(port: int) -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Served, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve(int(sys.argv[1])))
