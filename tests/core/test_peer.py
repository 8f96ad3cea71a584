import pytest

from mcphub.core.addresses import is_loopback
from mcphub.core.peer import Proxies

PROXIES = ("10.0.0.0/8", "192.0.2.10", "fd00::/8")


@pytest.mark.requirement("X12")
@pytest.mark.parametrize(
    ("peer", "forwarded", "real"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "127.0.0.1", "203.0.113.9"),
        ("10.1.1.1", "203.0.113.9", "203.0.113.9"),
        ("10.1.1.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.1.1.1", "6.6.6.6, 203.0.113.9, 192.0.2.10", "203.0.113.9"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.1.1.1", "203.0.113.9", "203.0.113.9"),
        ("10.1.1.1", "unknown", "10.1.1.1"),
        ("10.1.1.1", "203.0.113.9, garbage, 10.2.2.2", "10.2.2.2"),
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "10.2.2.2", "10.2.2.2"),
        ("", "203.0.113.9", ""),
    ],
)
def test_forwarded_addresses_are_believed_from_trusted_proxies_only(peer: str, forwarded: str, real: str) -> None:
    assert Proxies(PROXIES).real_address(peer, forwarded) == real


@pytest.mark.requirement("X12")
@pytest.mark.parametrize(
    ("peer", "forwarded", "scheme"),
    [
        ("203.0.113.9", "https", "http"),
        ("10.1.1.1", " HTTPS ", "https"),
        ("10.1.1.1", "", "http"),
        ("10.1.1.1", "gopher", "http"),
        ("", "https", "http"),
    ],
)
def test_the_forwarded_scheme_is_believed_from_trusted_proxies_only(peer: str, forwarded: str, scheme: str) -> None:
    assert Proxies(PROXIES).scheme(peer, "http", forwarded) == scheme


def test_nobody_is_trusted_unless_named() -> None:
    assert Proxies(()).real_address("127.0.0.1", "203.0.113.9") == "127.0.0.1"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "localhost"])
def test_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_other_machines(address: str) -> None:
    assert not is_loopback(address)
