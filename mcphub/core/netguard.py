"""The egress guard: which addresses the hub may connect to. Addresses are checked, not names.

Everything that is not plainly public needs an entry in an allow list. Cloud metadata services, link-local
and multicast addresses are never opened. An IPv4 address that hides inside an IPv6 one (mapped, compatible,
NAT64, 6to4, Teredo) is judged as itself too, and the worse verdict counts.
"""

import asyncio
import functools
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Verdict = Literal["public", "private", "never"]

NEVER: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local, with the metadata service of most clouds
        "fe80::/10",
        "168.63.129.16/32",  # wire server of a large cloud
        "100.100.100.200/32",  # metadata of another
        "192.0.0.192/32",  # and another
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "224.0.0.0/4",  # multicast
        "ff00::/8",
        "255.255.255.255/32",
    )
)
NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "64:ff9b:1::/48",  # local-use NAT64
        "2002::/16",  # 6to4: judged by what is inside as well, but no public service lives there
        "2001::/32",  # Teredo
        "fec0::/10",  # site-local
        "::/96",  # IPv4-compatible
        "192.88.99.0/24",  # 6to4 relays
        "5f00::/16",  # segment routing
    )
)
NAT64: Final = ip_network("64:ff9b::/96")
COMPATIBLE: Final = ip_network("::/96")
LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")


class EgressBlocked(Exception):
    """The hub may not connect there. `address` is what was refused, `port` where to."""

    def __init__(self, host: str, address: str, port: int) -> None:
        super().__init__(f"{host} is at {address}, which is not a public address and not allowed")
        self.host = host
        self.address = address
        self.port = port


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of an allow list: a host name, an address or a network, with a port or for all ports."""

    host: str = ""
    network: Network | None = None
    port: int | None = None

    def covers(self, host: str, address: Address, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        return self.host == host


@functools.lru_cache(maxsize=1024)
def parse_allowed(entry: str) -> Allowed:
    """`host`, `10.0.0.0/8`, `[fd00::1]:8080`, `db.internal:5432`, … Raises `ValueError`."""
    text = entry.strip().lower()
    host, port = text, None
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError(f"not a host, address or network: {entry!r}")
        port = _port(rest.removeprefix(":"), entry) if rest else None
    elif text.count(":") == 1:
        host, _, rest = text.partition(":")
        port = _port(rest, entry)
    try:
        return Allowed(network=ip_network(host, strict=False), port=port)
    except ValueError:
        if not host or "/" in host or ":" in host:
            raise ValueError(f"not a host, address or network: {entry!r}") from None
        return Allowed(host=host.rstrip("."), port=port)


def _port(text: str, entry: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"not a port: {entry!r}")
    return int(text)


def embedded(address: Address) -> Iterator[Address]:
    """The IPv4 addresses inside an IPv6 one."""
    if not isinstance(address, IPv6Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    value = int(address)
    if address in NAT64 or address in COMPATIBLE or address in LOCAL_NAT64:
        yield IPv4Address(value & 0xFFFFFFFF)


def judge(address: Address) -> Verdict:
    """What kind of place an address is."""
    kinds = {_judge_itself(each) for each in (address, *embedded(address))}
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        kinds = {_judge_itself(address.ipv4_mapped)}
    return "never" if "never" in kinds else "private" if "private" in kinds else "public"


def _judge_itself(address: Address) -> Verdict:
    if any(address in network for network in NEVER):
        return "never"
    if not address.is_global or any(address in network for network in NOT_PUBLIC):
        return "private"
    return "public"


def check(host: str, address: str, port: int, allow: Iterable[str]) -> Verdict:
    """How the hub stands to `address`, found under the name `host`: "private" means not allowed here."""
    parsed = ip_address(address.partition("%")[0])
    verdict = judge(parsed)
    if verdict == "private":
        plain = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped else parsed
        if any(parse_allowed(entry).covers(host, plain, port) for entry in allow):
            return "public"
    return verdict


async def resolve(host: str, port: int, allow: Sequence[str]) -> list[str]:
    """The addresses of `host` that may be connected to, each of them checked; connect to no others.

    `host` is a name or a literal without brackets. Raises `EgressBlocked` when there is none, or when one
    is of the kind that is never opened (such answers are no accident), and `OSError` for an unknown name.
    """
    name = _plain(host)
    if _is_address(name):
        return _checked(name, port, [name], allow)
    answers = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return _checked(name, port, [str(answer[4][0]) for answer in answers], allow)


def resolve_blocking(host: str, port: int, allow: Sequence[str]) -> list[str]:
    """The same for a thread that may wait."""
    name = _plain(host)
    if _is_address(name):
        return _checked(name, port, [name], allow)
    answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return _checked(name, port, [str(answer[4][0]) for answer in answers], allow)


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _checked(name: str, port: int, answers: Sequence[str], allow: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(answers))
    verdicts = {address: check(name, address, port, allow) for address in found}
    for worst in ("never", "private"):
        refused = [address for address in found if verdicts[address] == worst]
        if refused and (worst == "never" or len(refused) == len(found)):
            raise EgressBlocked(name, refused[0], port)
    return [address for address in found if verdicts[address] == "public"]
