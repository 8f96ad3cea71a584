"""Which addresses the hub connects to: every way to write one that is not plainly public is refused."""

import asyncio

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcphub.core import netguard
from mcphub.core.http import client
from mcphub.core.limits import Limits
from tests.faults.faultproxy import Silence
from upstreams.errors import UpstreamError
from upstreams.transports.origin import Origin

NOT_OPENED = [
    "0.0.0.0",
    "0x0",
    "10.0.0.1",
    "10.255.255.254",
    "100.64.0.1",
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f000001",
    "0x7f.0.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "localhost",
    "LOCALHOST.",
    "169.254.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "168.63.129.16",
    "100.100.100.200",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "0:0:0:0:0:ffff:c0a8:1",
    "::127.0.0.1",
    "::169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a00:1",
    "64:ff9b:1::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "5f00::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "140.82.112.3", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]
NEVER = ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fe80::1", "224.0.0.1"]


@pytest.mark.requirement("U21")
@pytest.mark.parametrize("host", NOT_OPENED)
async def test_address_that_is_not_public_is_refused(host: str) -> None:
    with pytest.raises((netguard.EgressBlocked, OSError)):
        await netguard.resolve(host, 80, ())


@pytest.mark.parametrize("host", PUBLIC)
async def test_public_address_is_opened(host: str) -> None:
    assert await netguard.resolve(host, 443, ()) == [host]


@pytest.mark.parametrize("host", NEVER)
async def test_metadata_and_link_local_are_never_opened(host: str) -> None:
    with pytest.raises(netguard.EgressBlocked):
        await netguard.resolve(host, 80, (host, "0.0.0.0/0", "::/0"))


@pytest.mark.parametrize(
    ("entry", "host", "port", "opened"),
    [
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", 8081, False),
        ("127.0.0.0/8", "127.9.9.9", 80, True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.0.0.1", 80, True),
        ("10.0.0.0/8", "192.168.0.1", 80, False),
        ("[::1]:9", "::1", 9, True),
        ("[::1]:9", "::1", 10, False),
        ("::1", "::1", 10, True),
        ("localhost", "localhost", 80, True),
        ("LocalHost.:80", "localhost", 80, True),
        ("localhost:81", "localhost", 80, False),
        ("other", "localhost", 80, False),
    ],
)
def test_allow_list_opens_exactly_what_it_names(entry: str, host: str, port: int, opened: bool) -> None:
    async def open_it() -> list[str]:
        return await netguard.resolve(host, port, (entry,))

    if opened:
        assert asyncio.run(open_it())
    else:
        with pytest.raises(netguard.EgressBlocked):
            asyncio.run(open_it())


@pytest.mark.parametrize("entry", ["", ":80", "host:port", "host:0", "host:70000", "10.0.0.0/33", "a/b", "[::1"])
def test_bad_entries_are_refused(entry: str) -> None:
    with pytest.raises(ValueError):
        netguard.parse_allowed(entry)


@given(st.ip_addresses(v=4))
def test_hiding_an_address_never_makes_it_more_open(address: object) -> None:
    from ipaddress import IPv4Address, IPv6Address

    assert isinstance(address, IPv4Address)
    if netguard.judge(address) == "public":
        return
    value = int(address)
    for base in (0xFFFF << 32, 0, 0x64FF9B << 96, (0x64FF9B0001 << 80)):
        assert netguard.judge(IPv6Address(base | value)) != "public"
    assert netguard.judge(IPv6Address((0x2002 << 112) | (value << 80))) != "public"


LOOPBACK_FORMS = [host for host in NOT_OPENED if "7f" in host or "127" in host or "localhost" in host.lower()] + [
    "0.0.0.0", "0x0", "0", "2130706433", "017700000001", "::", "::1", "127.0.0.1.", "127.0.0.1.nip.io.invalid",
]  # fmt: skip


@pytest.mark.requirement("U21", "F13")
@pytest.mark.parametrize("host", LOOPBACK_FORMS)
async def test_no_form_of_an_address_connects_anywhere(host: str) -> None:
    """Somebody listens on this machine; neither the client for documents nor the one for calls reaches them."""
    with Silence() as listener:
        bracketed = f"[{host}]" if ":" in host else host
        url = f"http://{bracketed}:{listener.port}/mcp"
        async with client() as http:
            with pytest.raises((netguard.EgressBlocked, httpx.HTTPError, httpx.InvalidURL)):
                await http.get(url)
        with pytest.raises(UpstreamError):
            await Origin(url, (), 2, Limits()).obtain()
        assert listener.visitors() == 0
