"""Certificates that cannot be trusted, and names whose answers change."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.links.conftest import spec, tool
from upstreams import errors
from upstreams.connections import Connections
from upstreams.transports import origin

DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority for one test."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self.name, self.key.public_key(), 0, 10, ca=True)

    def _sign(self, subject: x509.Name, key: Any, begins: int, ends: int, *, ca: bool, host: str = "") -> Any:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins * DAY - DAY)
            .not_valid_after(now + ends * DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, folder: Path, host: str, begins: int = 0, ends: int = 10) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._sign(subject, key.public_key(), begins, ends, ca=False, host=host)
        file = folder / "server.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def trusted(self) -> ssl.SSLContext:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)


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
    monkeypatch.setattr(origin, "FRESH_S", 0)
    there = origin.Origin(f"http://rebound.example:{port}/mcp", ("127.0.0.1",), 5)
    async with there.send("GET", "/", b"", None) as wire:
        assert wire.status == 429
    answers[:] = ["10.1.2.3"]
    with pytest.raises(errors.EgressRefused):
        async with there.send("GET", "/", b"", None):
            pass
