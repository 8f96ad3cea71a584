"""Clients that stay where they were sent."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mcphub.core import http, netguard


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that redirects `/away` elsewhere and `/near` to `/`, and greets on `/`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        target = {b"/away": b"http://169.254.169.254/", b"/near": b"/"}.get(path)
        status = b"200 OK" if target is None else b"302 Found\r\nLocation: " + target
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.mark.requirement("U21")
async def test_only_allowed_addresses_are_opened(port: int) -> None:
    async with http.client(("127.0.0.1",)) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/near")).text == "hi"
    async with http.client() as client:
        with pytest.raises(netguard.EgressBlocked):
            await client.get(f"http://localhost:{port}/")


async def test_redirects_to_another_origin_are_not_followed(port: int) -> None:
    async with http.client(("127.0.0.1",)) as client:
        with pytest.raises(http.RedirectedElsewhere):
            await client.get(f"http://127.0.0.1:{port}/away")


async def test_proxies_of_the_environment_are_ignored(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with http.client(("127.0.0.1",)) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
