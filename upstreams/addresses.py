"""Whether the hub may open an address, asked before an upstream is saved."""

import asyncio
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from mcphub.core.netguard import EgressBlocked, judge, resolve
from upstreams.serversfile import PORTS

RESOLVE_S: Final = 3


def blocked_at(url: str, allow: Iterable[str]) -> EgressBlocked | None:
    """Why the egress guard would refuse `url` (of which `url_fault` found nothing), or None.

    A name that does not resolve now is not refused: it may resolve later, and the upstream's state will tell.
    Blocks for `RESOLVE_S` seconds at most, beyond what the resolver itself takes to give up.
    """
    parts = urlsplit(url)
    entries = (*settings.HUB.egress_allow, *allow)
    try:
        asyncio.run(_resolved(parts.hostname or "", parts.port or PORTS[parts.scheme], entries))
    except EgressBlocked as blocked:
        return blocked
    except (OSError, TimeoutError):
        return None
    return None


def is_never_opened(address: str) -> bool:
    """Whether no list can open this address: link-local, metadata services and their like."""
    return judge(ip_address(address.partition("%")[0])) == "never"


async def _resolved(host: str, port: int, allow: tuple[str, ...]) -> list[str]:
    async with asyncio.timeout(RESOLVE_S):
        return await resolve(host, port, allow)
