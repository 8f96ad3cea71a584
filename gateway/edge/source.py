"""Where a request really came from, behind proxies that the operator trusts (`MCPHUB_TRUSTED_PROXIES`)."""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from gateway.edge.config import EdgeConfig

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Sources:
    """Reads `X-Forwarded-For` and `X-Forwarded-Proto`, but only from trusted peers."""

    def __init__(self, config: EdgeConfig) -> None:
        self._networks: Sequence[Network] = [
            ipaddress.ip_network(text, strict=False) for text in config.trusted_proxies
        ]
        self._server_url = config.server_url
        self._trusts = lru_cache(maxsize=1024)(self._trusts_uncached)

    def address(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """The address of the client: the last one in the chain that is no trusted proxy. "" for a Unix socket."""
        peer = scope.get("client")
        address: str = peer[0] if peer else ""
        if not self._networks or not self._trusts(address):
            return address
        chain = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        for hop in reversed([part.strip() for part in chain if part.strip()]):
            address = hop
            if not self._trusts(hop):
                break
        return address

    def base_url(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """The URL that the client used, without path: the configured one, or scheme and (checked) Host."""
        if self._server_url:
            return self._server_url
        scheme: str = scope.get("scheme", "http")
        peer = scope.get("client")
        if self._networks and peer and self._trusts(peer[0]):
            forwarded = headers.get(b"x-forwarded-proto", b"").decode("latin-1").strip().lower()
            scheme = forwarded if forwarded in ("http", "https") else scheme
        return f"{scheme}://{headers.get(b'host', b'').decode('latin-1')}"

    def _trusts_uncached(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)
