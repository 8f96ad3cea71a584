"""Where a request really came from: forwarding headers are believed from trusted proxies only."""

import ipaddress
from collections.abc import Sequence
from typing import Final

from django.conf import settings
from django.http import HttpRequest

IPV6_NEIGHBOURS: Final = 64


def real_address(peer: str, forwarded_for: str, trusted: Sequence[str]) -> str:
    """The client's address: `peer`, or the nearest untrusted entry of X-Forwarded-For behind trusted proxies.

    `trusted` holds addresses and CIDRs. An entry that is no address ends the walk at the proxy that sent it.
    """
    address = peer
    hops = [hop.strip() for hop in forwarded_for.split(",")] if forwarded_for else []
    while hops and _is_in(address, trusted):
        hop = hops.pop()
        if _parsed(hop) is None:
            break
        address = hop
    return address


def is_loopback(address: str) -> bool:
    """Whether `address` is this machine's own: 127.0.0.0/8, ::1 (also mapped) or the name `localhost`."""
    found = _parsed(address)
    return address == "localhost" if found is None else found.is_loopback


def neighbourhood(address: str) -> str:
    """Whom to count together: the address, or for IPv6 its network, for one household holds a whole /64."""
    found = _parsed(address)
    if found is None or found.version == 4:
        return address
    return str(ipaddress.ip_network((found, IPV6_NEIGHBOURS), strict=False))


def source_of(request: HttpRequest) -> str:
    """The address of the client behind a Django request; "" when the server did not say."""
    peer = request.META.get("REMOTE_ADDR") or ""
    return real_address(peer, request.META.get("HTTP_X_FORWARDED_FOR", ""), settings.HUB.trusted_proxies)


def is_trusted(address: str, trusted: Sequence[str]) -> bool:
    """Whether `address` is one of the trusted proxies (addresses and CIDRs)."""
    return _is_in(address, trusted)


def _is_in(address: str, networks: Sequence[str]) -> bool:
    found = _parsed(address)
    return found is not None and any(found in ipaddress.ip_network(item, strict=False) for item in networks)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped) or found
