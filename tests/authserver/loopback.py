"""A native client's own end of the browser's way: a listener on loopback that takes one answer (RFC 8252)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from tests.harness.processes import free_port


class Loopback:
    """Takes answers at `redirect_uri`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.redirect_uri = f"http://127.0.0.1:{self.port}/callback"
        self._answers: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def answer(self, within_s: float = 60) -> dict[str, str]:
        """The parameters that a browser brought."""
        async with asyncio.timeout(within_s):
            return await self._answers.get()

    @property
    def is_empty(self) -> bool:
        return self._answers.empty()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        target = line.split(" ")[1] if line.count(" ") > 1 else "/"
        if urlsplit(target).path == "/callback":
            self._answers.put_nowait({name: values[0] for name, values in parse_qs(urlsplit(target).query).items()})
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nDone."
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def loopback() -> AsyncIterator[Loopback]:
    made = Loopback()
    server = await asyncio.start_server(made.take, "127.0.0.1", made.port)
    try:
        yield made
    finally:
        server.close()
