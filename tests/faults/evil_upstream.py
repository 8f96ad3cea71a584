"""An upstream that misbehaves as each call tells it to: `python -m tests.faults.evil_upstream PORT LOG [handshake]`.

Its one tool, `act`, takes `do` (a name in `ACTS`) and what that act needs. Every request is appended to LOG as one
JSON line before anything else happens; so is the `nonce` of every call that takes effect (a refusal by `status`
does not), and every connection that the other side ends in mid-answer. With `handshake` it speaks that era only,
else both.
"""

import asyncio
import itertools
import json
import socket
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MODERN: Final = "2026-07-28"
TOOL: Final = {
    "name": "act",
    "description": "Do as told.",
    "inputSchema": {"type": "object", "properties": {"do": {"type": "string"}}, "required": ["do"]},
    "annotations": {"readOnlyHint": True},
}
JSON_TYPE: Final = "application/json"
STREAM_TYPE: Final = "text/event-stream"


@dataclass(slots=True)
class Call:
    """One request: its message, its headers (lower case), and the way back."""

    message: dict[str, Any]
    headers: dict[str, str]
    writer: asyncio.StreamWriter

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.message.get("params", {}).get("arguments", {}))

    @property
    def modern(self) -> bool:
        return self.headers.get("mcp-protocol-version") == MODERN

    def result(self, result: dict[str, Any]) -> bytes:
        """A whole JSON-RPC answer to this request."""
        extra = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if self.modern else {}
        return json.dumps({"jsonrpc": "2.0", "id": self.message["id"], "result": {**extra, **result}}).encode()

    async def respond(self, body: bytes, *, status: int = 200, type: str = JSON_TYPE, **headers: str) -> None:
        """Send a whole HTTP response."""
        headers = {"Content-Type": type, "Content-Length": str(len(body)), **headers}
        self._head(status, headers)
        self.writer.write(body)
        await self.writer.drain()

    def begin(self, type: str, **headers: str) -> None:
        """Begin a chunked response."""
        self._head(200, {"Content-Type": type, "Transfer-Encoding": "chunked", **headers})

    async def chunk(self, part: bytes) -> None:
        """Send one part, when the other side has room for it; an empty one ends the response."""
        self.writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        await self.writer.drain()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())


def event(message: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + message + b"\n\n"


async def echo(call: Call) -> None:
    """Give `text` back, after `pause` seconds."""
    await asyncio.sleep(call.arguments.get("pause", 0))
    await call.respond(call.result({"content": [{"type": "text", "text": call.arguments.get("text", "")}]}))


async def die(call: Call) -> None:
    """Reset the connection (F02)."""
    raw = call.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.writer.transport.abort()


async def hang(call: Call) -> None:
    """Send nothing, for ever (F03)."""
    await asyncio.Event().wait()


async def drip(call: Call) -> None:
    """Progress without end (F04)."""
    token = call.message["params"].get("_meta", {}).get("progressToken", 0)
    call.begin(STREAM_TYPE)
    for step in itertools.count(1):
        note = {"method": "notifications/progress", "params": {"progressToken": token, "progress": step}}
        await call.chunk(event(json.dumps({"jsonrpc": "2.0", **note}).encode()))
        await asyncio.sleep(0.05)


async def garbage(call: Call) -> None:
    """`body` as it is (F05)."""
    await call.respond(call.arguments["body"].encode())


async def wrong_id(call: Call) -> None:
    """A right answer to somebody else (F05)."""
    await call.respond(json.dumps({"jsonrpc": "2.0", "id": "not-yours", "result": {"content": []}}).encode())


async def anothers_id(call: Call) -> None:
    """The answer to the request that came before this one, which is under way (F05)."""
    result = {"content": [{"type": "text", "text": "stolen"}]}
    await call.respond(json.dumps({"jsonrpc": "2.0", "id": call.message["id"] - 1, "result": result}).encode())


async def twice(call: Call) -> None:
    """Two answers to one request, in a batch or (`stream`) as events (F05)."""
    answers = [call.result({"content": [{"type": "text", "text": text}]}) for text in ("first", "second")]
    if not call.arguments.get("stream"):
        await call.respond(b"[" + b",".join(answers) + b"]")
        return
    call.begin(STREAM_TYPE)
    for answer in answers:
        await call.chunk(event(answer))
    await call.chunk(b"")


async def huge(call: Call) -> None:
    """`bytes` of text in one answer (F06)."""
    head, tail = call.result({"content": [{"type": "text", "text": "@"}]}).split(b"@")
    block = b"x" * 65_536
    call.begin(JSON_TYPE)
    await call.chunk(head)
    for _ in range(call.arguments["bytes"] // len(block)):
        await call.chunk(block)
    await call.chunk(tail)
    await call.chunk(b"")


async def flood(call: Call) -> None:
    """Events without end (F06)."""
    params = {"level": "info", "data": "x" * 9_000}
    note = event(json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": params}).encode())
    call.begin(STREAM_TYPE)
    while True:
        await call.chunk(note)


async def bomb(call: Call) -> None:
    """A hundred megabytes in a hundred kilobytes (F06), though nobody asked for gzip."""
    packer = zlib.compressobj(wbits=31)
    body = b"".join([packer.compress(b"0" * 2**20) for _ in range(100)]) + packer.flush()
    await call.respond(body, Content_Encoding="gzip")


async def cut(call: Call) -> None:
    """Begin a stream and close the connection before the answer (F07)."""
    call.begin(STREAM_TYPE)
    await call.chunk(b": so far so good\n\n")
    call.writer.close()


async def status(call: Call) -> None:
    """HTTP `status` with `headers` and `body` (F09 to F13)."""
    arguments = call.arguments
    body = arguments.get("body", "").encode()
    await call.respond(body, status=arguments["status"], type="text/html", **arguments.get("headers", {}))


ACTS: Final[dict[str, Callable[[Call], Awaitable[None]]]] = {
    act.__name__: act
    for act in (echo, die, hang, drip, garbage, wrong_id, anothers_id, twice, huge, flood, bomb, cut, status)
}


class EvilUpstream:
    """The server. Session ids are numbers; `forget` as an act makes it know none of them any more (F16)."""

    def __init__(self, log: Path, *, handshake_only: bool) -> None:
        self._log: Final = log
        self._handshake_only: Final = handshake_only
        self._sessions: set[str] = set()
        self._numbers: Final = itertools.count(1)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        try:
            while (call := await self._read(reader, writer)) is not None:
                answering = asyncio.create_task(self._answer(call))
                left = asyncio.create_task(_left(reader))
                await asyncio.wait((answering, left), return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    self._write({"left": call.message})
                    answering.cancel()
                    return
                left.cancel()
                answering.result()
        except ConnectionError:
            return
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        request, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        message = json.loads(body) if body else {"method": request.split()[0]}
        self._write({"message": message, "headers": headers})
        return Call(message, headers, writer)

    def _write(self, line: dict[str, Any]) -> None:
        with self._log.open("a") as log:
            log.write(json.dumps(line) + "\n")

    async def _answer(self, call: Call) -> None:
        method = call.message["method"]
        if call.headers.get("mcp-session-id", "") not in {"", *self._sessions}:
            await call.respond(b"", status=404)
        elif method in ("GET", "DELETE"):
            await call.respond(b"", status=405)
        elif "id" not in call.message:
            await call.respond(b"", status=202)
        elif method == "tools/call":
            await self._act(call)
        elif method == "initialize":
            await self._initialize(call)
        elif method == "server/discover" and self._handshake_only:
            await call.respond(
                b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session?"}}', status=400
            )
        else:
            await call.respond(call.result(self._facts(method, call)))

    async def _act(self, call: Call) -> None:
        if call.arguments["do"] != "status":
            self._write({"ran": call.arguments.get("nonce", "")})
        if call.arguments["do"] == "forget":
            self._sessions.clear()
            await call.respond(call.result({"content": []}))
        else:
            await ACTS[call.arguments["do"]](call)

    async def _initialize(self, call: Call) -> None:
        session = str(next(self._numbers))
        self._sessions.add(session)
        await call.respond(call.result(self._facts("initialize", call)), Mcp_Session_Id=session)

    @staticmethod
    def _facts(method: str, call: Call) -> dict[str, Any]:
        about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "evil", "version": "1"}}
        asked = call.message.get("params", {}).get("protocolVersion")
        return {
            "initialize": {"protocolVersion": asked, **about},
            "server/discover": {"supportedVersions": [MODERN], **about},
            "tools/list": {"tools": [TOOL]},
        }.get(method, {})


async def _left(reader: asyncio.StreamReader) -> None:
    """Return when the other side has closed; clients of these tests do not pipeline."""
    while not reader.at_eof():
        await asyncio.sleep(0.02)


async def main(port: int, log: Path, handshake_only: bool) -> None:
    upstream = EvilUpstream(log, handshake_only=handshake_only)
    server = await asyncio.start_server(upstream.connected, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["handshake"]))
