"""Where a request really came from: forwarding headers are believed from trusted proxies only."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from django.conf import settings
from django.http import HttpRequest

from mcphub.core.addresses import is_loopback, parsed

IPV6_NEIGHBOURS: Final = 64
FORWARDING: Final = (
    "forwarded",
    "via",
    "x-real-ip",
    "x-forwarded",
    "x-client-ip",
    "cf-connecting-ip",
    "fly-client-ip",
    "true-client-ip",
)
SCHEMES: Final = frozenset({"http", "https"})


class Proxies:
    """The proxies that the operator trusts (`MCPHUB_TRUSTED_PROXIES`): addresses and CIDRs."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        self._networks: Final = [ipaddress.ip_network(text, strict=False) for text in trusted]
        self.trust = lru_cache(maxsize=1024)(self._trust) if trusted else _nobody

    def real_address(self, peer: str, forwarded_for: str) -> str:
        """The client's address: `peer`, or the nearest untrusted entry of X-Forwarded-For behind trusted proxies.

        An entry that is no address ends the walk at the proxy that sent it.
        """
        address = peer
        hops = forwarded_for.split(",") if forwarded_for else []
        while hops and self.trust(address):
            hop = hops.pop().strip()
            if parsed(hop) is None:
                break
            address = hop
        return address

    def scheme(self, peer: str, own: str, forwarded: str) -> str:
        """The scheme that the client used: `own`, or that of X-Forwarded-Proto when a trusted proxy ended its TLS."""
        told = forwarded.strip().lower()
        return told if told in SCHEMES and self.trust(peer) else own

    def _trust(self, address: str) -> bool:
        found = parsed(address)
        return found is not None and any(found in network for network in self._networks)


@lru_cache(maxsize=8)
def proxies(trusted: tuple[str, ...]) -> Proxies:
    """Those of a setting."""
    return Proxies(trusted)


def source_of(request: HttpRequest) -> str:
    """The address of the client behind a Django request; "" when the server did not say."""
    peer = request.META.get("REMOTE_ADDR") or ""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return proxies(settings.HUB.trusted_proxies).real_address(peer, forwarded)


def is_from_here(address: str, header_names: Iterable[str]) -> bool:
    """Whether a request comes from this machine itself, and no proxy passed it on; header names in lower case."""
    return is_loopback(address) and not any(name.startswith(FORWARDING) for name in header_names)


def neighbourhood(address: str) -> str:
    """Whom to count together: the address, or for IPv6 its network, for one household holds a whole /64."""
    found = parsed(address)
    if found is None or found.version == 4:
        return address
    return str(ipaddress.ip_network((found, IPV6_NEIGHBOURS), strict=False))


def _nobody(address: str) -> bool:
    return False
