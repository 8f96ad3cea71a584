"""A plain round-robin proxy: each HTTP request goes to the next backend, whatever it belongs to."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

HEAD_END: Final = b"\r\n\r\n"
PIECE: Final = 64 * 1024


class RoundRobin:
    """Closes every connection after its request, so that none sticks to a backend. `requests` counts by backend.

    A WebSocket stays where it was opened.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports: Final = list(ports)
        self.requests: Final = dict.fromkeys(ports, 0)
        self._turns = itertools.count()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._exchange(reader, writer)
        writer.close()

    async def backend(self) -> int:
        """The port that the next request goes to."""
        return self.ports[next(self._turns) % len(self.ports)]

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(HEAD_END)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        upgrades = re.search(rb"(?i)\r\nupgrade:", head) is not None
        if not upgrades:
            head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
            head = head.removesuffix(HEAD_END) + b"\r\nconnection: close" + HEAD_END
        port = await self.backend()
        self.requests[port] = self.requests.get(port, 0) + 1
        backend, out = await asyncio.open_connection("127.0.0.1", port)
        try:
            out.write(head + body)
            left = asyncio.create_task(_copy(reader, out) if upgrades else reader.read(1))
            copied = asyncio.create_task(_copy(backend, writer))
            await asyncio.wait({left, copied}, return_when=asyncio.FIRST_COMPLETED)
            for task in (left, copied):
                task.cancel()
            await asyncio.gather(left, copied, return_exceptions=True)
        finally:
            out.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def round_robin(*ports: int) -> AsyncIterator[tuple[RoundRobin, str]]:
    """A running proxy in front of these ports, and its URL."""
    proxy = RoundRobin(ports)
    async with await asyncio.start_server(proxy.handle, "127.0.0.1", 0) as server:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
