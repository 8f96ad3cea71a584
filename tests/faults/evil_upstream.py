"""An upstream over HTTP that misbehaves as told: `python -m tests.faults.evil_upstream PORT LOG [handshake]`.

`/mcp` is streamable HTTP; with `handshake` it speaks that era only, else both. `/sse` and `/messages` are HTTP+SSE of
2024-11-05. What it does is in `tests.faults.evil_acts`.
"""

import asyncio
import itertools
import json
import socket
import struct
import sys
from pathlib import Path
from typing import Any, Final

from tests.faults.evil_acts import JSON_TYPE, STREAM_TYPE, Call, Evil, unknown

TLS_HANDSHAKE: Final = b"\x16"
NO_TLS: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO_DISCOVERY: Final = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session?"}}'


class HttpCall(Call):
    """A request whose answer is the response."""

    def __init__(self, message: dict[str, Any], headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        super().__init__(message, headers)
        self.writer = writer

    async def respond(self, body: bytes, *, status: int = 200, type: str = JSON_TYPE, **headers: str) -> None:
        self._head(status, {"Content-Type": type, "Content-Length": str(len(body)), **headers})
        self.writer.write(body)
        await self.writer.drain()

    async def begin(self) -> None:
        self._head(200, {"Content-Type": JSON_TYPE, "Transfer-Encoding": "chunked"})

    async def part(self, text: bytes) -> None:
        self.writer.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
        await self.writer.drain()

    async def begin_stream(self) -> None:
        self._head(200, {"Content-Type": STREAM_TYPE, "Transfer-Encoding": "chunked"})

    async def say(self, message: bytes) -> None:
        await self.part(b"data: " + message + b"\n\n")

    async def end_stream(self) -> None:
        await self.part(b"")

    async def break_off(self, *, reset: bool) -> None:
        end(self.writer, reset=reset)

    async def endless_headers(self, *, trailing: bool) -> None:
        self.writer.write(b"HTTP/1.1 200 OK\r\n")
        if trailing:
            body = self.result({"content": []})
            self.writer.write(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            self.writer.write(b"%x\r\n%b\r\n0\r\n" % (len(body), body))
        for number in itertools.count():
            self.writer.write(b"X-%d: %b\r\n" % (number, b"x" * 4_000))
            await self.writer.drain()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())


class SseCall(HttpCall):
    """A request whose answer goes to the session's stream; only an HTTP status answers the POST itself."""

    def __init__(self, http: HttpCall, stream: HttpCall) -> None:
        super().__init__(http.message, http.headers, http.writer)
        self._stream: Final = stream

    async def respond(self, body: bytes, *, status: int = 200, type: str = JSON_TYPE, **headers: str) -> None:
        if status != 200:
            await super().respond(body, status=status, type=type, **headers)
            return
        await self._accept()
        await self._stream.say(body)

    async def begin(self) -> None:
        await self._accept()
        await self._stream.part(b"data: ")

    async def part(self, text: bytes) -> None:
        await self._stream.part(text or b"\n\n")

    async def begin_stream(self) -> None:
        await self._accept()

    async def say(self, message: bytes) -> None:
        await self._stream.say(message)

    async def end_stream(self) -> None:
        return

    async def break_off(self, *, reset: bool) -> None:
        end(self.writer, reset=reset)
        end(self._stream.writer, reset=reset)

    async def _accept(self) -> None:
        await super().respond(b"", status=202)


def end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """Close, or reset."""
    if not reset:
        writer.close()
        return
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class EvilUpstream(Evil):
    """The server. Session ids are numbers; `forget` as an act makes it know none of them any more (F16)."""

    def __init__(self, log: Path, *, handshake_only: bool) -> None:
        super().__init__(log, handshake_only=handshake_only)
        self._sessions: set[str] = set()
        self._streams: dict[str, HttpCall] = {}
        self._numbers: Final = itertools.count(1)
        self._elsewhere: Final[set[asyncio.Task[None]]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        try:
            while (asked := await self._read(reader, writer)) is not None:
                path, call = asked
                answering = asyncio.create_task(self._answer(path, call))
                left = asyncio.create_task(_left(reader))
                await asyncio.wait((answering, left), return_when=asyncio.FIRST_COMPLETED)
                if not answering.done() and path.startswith("/messages"):
                    self._elsewhere.add(answering)  # the answer goes to the stream, whatever becomes of the POST
                    return
                if not answering.done():
                    self.write({"left": call.message})
                    answering.cancel()
                    return
                left.cancel()
                answering.result()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, HttpCall] | None:
        try:
            first = await reader.readexactly(1)
            if first == TLS_HANDSHAKE:
                writer.write(NO_TLS)
                return None
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        request, *lines = head.strip().split("\r\n")
        verb, path, _ = request.split()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        message = json.loads(body) if body else {"method": verb}
        self.write({"message": message, "headers": headers})
        return path, HttpCall(message, headers, writer)

    async def _answer(self, path: str, call: HttpCall) -> None:
        method, place = call.message["method"], path.partition("?")[0]
        if path == "/sse" and method == "GET":
            await self._stream(call)
        elif place == "/messages":
            await self._over_sse(call, self._streams[path.partition("=")[2]])
        elif call.headers.get("mcp-session-id", "") not in {"", *self._sessions}:
            await call.respond(b"", status=404)
        elif method in ("GET", "DELETE") or place != "/mcp":
            await call.respond(b"", status=405)
        elif "id" not in call.message:
            await call.respond(b"", status=202)
        elif method == "server/discover" and self.handshake_only:
            await call.respond(NO_DISCOVERY, status=400)
        elif method == "initialize":
            await call.respond(call.result(self.facts(call) or {}), Mcp_Session_Id=self._begin())
        else:
            await self._say(call, status=404 if call.modern else 200)

    async def _stream(self, call: HttpCall) -> None:
        """The stream of one session, for as long as the other side is there."""
        session = str(next(self._numbers))
        self._streams[session] = call
        await call.begin_stream()
        await call.part(f"event: endpoint\ndata: /messages?session={session}\n\n".encode())
        await asyncio.Event().wait()

    async def _over_sse(self, http: HttpCall, stream: HttpCall) -> None:
        call = SseCall(http, stream)
        if "id" not in call.message:
            await http.respond(b"", status=202)
        else:
            await self._say(call)

    async def _say(self, call: Call, status: int = 200) -> None:
        """Answer a request; `status` is for methods that it does not know."""
        if call.message["method"] == "tools/call" and call.arguments["do"] == "forget":
            self.write({"ran": call.arguments.get("nonce", "")})
            self._sessions.clear()
            await call.respond(call.result({"content": []}))
        elif call.message["method"] == "tools/call":
            await self.act(call)
        elif (facts := self.facts(call)) is not None:
            await call.respond(call.result(facts))
        else:
            await call.respond(unknown(call), status=status)

    def _begin(self) -> str:
        session = str(next(self._numbers))
        self._sessions.add(session)
        return session


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
