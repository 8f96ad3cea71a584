"""Certificates that cannot be trusted, and names whose answers change."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mcphub.core.limits import Limits
from tests.faults.certificates import Authority
from tests.links.conftest import spec, tool
from upstreams import errors
from upstreams.connections import Connections
from upstreams.transports import origin


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority()
    monkeypatch.setattr(origin, "_trust", made.trusted())
    return made


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n")
    await writer.drain()


@pytest.fixture
async def listening(request: pytest.FixtureRequest) -> AsyncIterator[list[asyncio.Server]]:
    servers: list[asyncio.Server] = []
    yield servers
    for server in servers:
        server.close()


async def port_of(servers: list[asyncio.Server], context: ssl.SSLContext | None) -> int:
    server = await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=context)
    servers.append(server)
    return int(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("bad", ["expired", "other host", "unknown authority", "no tls"])
async def test_bad_tls_is_named_and_nothing_was_sent(
    hub: Connections, authority: Authority, listening: list[asyncio.Server], tmp_path: Path, bad: str
) -> None:
    context = {
        "expired": lambda: authority.server(tmp_path, "localhost", -5, -2),
        "other host": lambda: authority.server(tmp_path, "example.org"),
        "unknown authority": lambda: Authority().server(tmp_path, "localhost"),
        "no tls": lambda: None,
    }[bad]()
    port = await port_of(listening, context)
    with pytest.raises(errors.TlsFault) as caught:
        await hub.call(spec(url=f"https://localhost:{port}/mcp", egress_allow=("localhost",)), tool("x"))
    assert caught.value.outcome == "not_sent"


async def test_good_tls_is_spoken(
    hub: Connections, authority: Authority, listening: list[asyncio.Server], tmp_path: Path
) -> None:
    port = await port_of(listening, authority.server(tmp_path, "localhost"))
    with pytest.raises(errors.RateLimited):
        await hub.call(spec(url=f"https://localhost:{port}/mcp", egress_allow=("localhost",)), tool("x"))


@pytest.mark.requirement("U21")
async def test_rebound_name_is_refused_and_gets_no_packet(
    listening: list[asyncio.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = await port_of(listening, None)
    answers = ["127.0.0.1"]

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(2, 1, 6, "", (address, port)) for address in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    there = origin.Origin(f"http://rebound.example:{port}/mcp", ("127.0.0.1",), 5, Limits(resolve_s=0))
    async with there.send("GET", "/", b"", None) as wire:
        assert wire.status == 429
    answers[:] = ["10.1.2.3"]
    with pytest.raises(errors.EgressRefused):
        async with there.send("GET", "/", b"", None):
            pass
