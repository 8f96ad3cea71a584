"""Instructions of calls through the whole hub, in a process of its own under callgrind.

`valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file=FOLDER/counts python -m tests.speed.call_path
FOLDER` serves calls from memory through the real server protocol, edge, policy, record and upstream connection, and
prints the `Cost` of a call by era as JSON. The database and the upstream of `MCPHUB_DATA_DIR` must be there.
"""

import asyncio
import gc
import json
import os
import re
import sys
from asyncio.subprocess import DEVNULL
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from django.conf import settings
from uvicorn.server import ServerState

from gateway.server.doors import open_doors
from gateway.server.drain import drain
from gateway.server.uvicorn import make_server
from mcphub import asgi

KEY: Final = "speed-key-0123456789abcdef"
TOOL: Final = "speed__echo"
CLIENTS: Final = 16
CALLS: Final = 32
ROUNDS: Final = 4
ERAS: Final = ("modern", "handshake")
HANDSHAKE: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "speed", "version": "1"},
}


class Cost(msgspec.Struct, frozen=True):
    """Of one call: instructions of all threads, and containers left as garbage.

    Both of the cheapest round: what else the process has to do meanwhile can only add.
    """

    instructions: float
    garbage: float


class Line(asyncio.Transport):
    """A client's connection without a network: whole requests in, whole answers out."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self._said = bytearray()
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._protocol = make()
        self._protocol.connection_made(self)

    async def post(self, request: bytes) -> tuple[bytes, bytes]:
        """Head and body of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._protocol.data_received(request)
        return await self._answer

    def write(self, data: Any) -> None:
        self._said += data
        head, found, body = bytes(self._said).partition(b"\r\n\r\n")
        if found and self._answer is not None and len(body) == _length(head):
            self._said.clear()
            self._answer.set_result((head, body))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 8080)}.get(name, default)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        return None

    def resume_reading(self) -> None:
        return None


def _length(head: bytes) -> int:
    return int(_header(head, b"content-length"))


def _header(head: bytes, name: bytes) -> bytes:
    return next(line.partition(b": ")[2] for line in head.split(b"\r\n") if line.lower().startswith(name))


def request(era: str, method: str, params: dict[str, Any], session: bytes = b"") -> bytes:
    """One POST as it comes over the wire."""
    headers = {"host": "127.0.0.1:8080", "content-type": "application/json", "authorization": f"Bearer {KEY}"}
    headers["accept"] = "application/json, text/event-stream"
    if era == "modern":
        params = {**params, "_meta": META}
        headers |= {"mcp-protocol-version": MODERN, "mcp-method": method, "mcp-name": str(params.get("name"))}
    elif session:
        headers |= {"mcp-protocol-version": HANDSHAKE, "mcp-session-id": session.decode()}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    headers["content-length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + body


async def opened(era: str, line: Line) -> bytes:
    """The bytes of a call that is ready to be made, in a session where the era has one."""
    session = b""
    if era == "handshake":
        hello = {
            "protocolVersion": HANDSHAKE,
            "capabilities": {},
            "clientInfo": META["io.modelcontextprotocol/clientInfo"],
        }
        head, _ = await line.post(request(era, "initialize", hello))
        session = _header(head, b"mcp-session-id")
    call = request(era, "tools/call", {"name": TOOL, "arguments": {"text": "nonce"}}, session)
    async with asyncio.timeout(20):
        while b'"nonce"' not in (await line.post(call))[1]:
            await asyncio.sleep(0.1)
    return call


async def together(work: Callable[[], Awaitable[Any]]) -> None:
    """`work` done `CALLS` times, `CLIENTS` at once."""

    async def some() -> None:
        for _ in range(CALLS // CLIENTS):
            await work()

    await asyncio.gather(*(some() for _ in range(CLIENTS)))


@asynccontextmanager
async def calls() -> AsyncIterator[Callable[[str], Awaitable[Callable[[], Awaitable[None]]]]]:
    """The hub at work. For an era it gives what makes one call, on one of `CLIENTS` lines that is free."""
    await asgi.start()
    config = make_server(asgi.application, drain(), settings.HUB.limits, open_doors(settings.HUB.limits)).config
    config.load()
    state = ServerState()

    async def caller(era: str) -> Callable[[], Awaitable[None]]:
        lines = [Line(lambda: config.http_protocol_class(config, state, {})) for _ in range(CLIENTS)]  # type: ignore[call-arg, misc]  # uvicorn types it as any protocol
        free = deque([(line, await opened(era, line)) for line in lines])

        async def call() -> None:
            line, whole = free.popleft()
            _, body = await line.post(whole)
            assert b'"nonce"' in body, body
            free.append((line, whole))

        return call

    yield caller
    await asgi.stop()


async def counted(folder: Path) -> dict[str, Cost]:
    """The cost of a call by era. Callgrind writes its files into `folder`."""
    costs = {}
    async with calls() as caller:
        for era in ERAS:
            call = await caller(era)
            await together(call)
            costs[era] = Cost(await _instructions(call, folder), min([await _garbage(call) for _ in range(ROUNDS)]))
    return costs


async def _instructions(work: Callable[[], Awaitable[Any]], folder: Path) -> float:
    return min([await _counts(work, folder) for _ in range(ROUNDS)])


async def _counts(work: Callable[[], Awaitable[Any]], folder: Path) -> float:
    gc.collect()
    await _callgrind("--instr=on")
    await together(work)
    await _callgrind("--instr=off")
    await _callgrind("--dump")
    newest = max(folder.glob("counts.*"), key=lambda path: int(path.suffix[1:]))
    totals = re.search(r"^totals: (\d+)$", newest.read_text(), re.MULTILINE)
    assert totals is not None
    return int(totals[1]) / CALLS


async def _callgrind(order: str) -> None:
    control = await asyncio.create_subprocess_exec("callgrind_control", order, str(os.getpid()), stdout=DEVNULL)
    assert await control.wait() == 0


async def _garbage(call: Callable[[], Awaitable[Any]]) -> float:
    gc.collect()
    gc.disable()
    await together(call)
    left = gc.collect() / CALLS
    gc.enable()
    return left


if __name__ == "__main__":
    uvloop.install()
    print(msgspec.json.encode(asyncio.run(counted(Path(sys.argv[1])))).decode())
