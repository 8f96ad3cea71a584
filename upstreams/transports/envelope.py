"""What the hub adds to the parameters of a request, in each era."""

from collections.abc import Mapping
from typing import Any, Final

from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)

import mcphub
from upstreams.types import MODERN, ClientFacts, Era, Exchange, UpstreamSpec

HUB_INFO: Final[Mapping[str, Any]] = {"name": "mcphub", "version": mcphub.__version__}
BRIDGED: Final = ("sampling", "elicitation", "roots")
PASSED: Final = (*BRIDGED, "extensions")
ALL_BRIDGED: Final[Mapping[str, Any]] = {
    "sampling": {"tools": {}},
    "elicitation": {"form": {}, "url": {}},
    "roots": {"listChanged": True},
}


def params_for(exchange: Exchange, era: Era, token: int) -> Mapping[str, Any]:
    """`exchange.params` with `_meta` as the era needs it; the caller's own `_meta` keys are kept.

    `token` is the progress token, used when progress was asked for.
    """
    if era == "handshake" and not exchange.progress and not exchange.trace:
        return exchange.params
    meta: dict[str, Any] = {**exchange.params.get("_meta", {}), **exchange.trace}
    if exchange.progress:
        meta["progressToken"] = token
    if era == "modern":
        meta |= modern_meta(exchange.client)
    return {**exchange.params, "_meta": meta}


def modern_meta(client: ClientFacts) -> dict[str, Any]:
    """The envelope keys of a modern request (2026-07-28, per-request metadata)."""
    meta: dict[str, Any] = {
        PROTOCOL_VERSION_META_KEY: MODERN,
        CLIENT_CAPABILITIES_META_KEY: client.capabilities,
        CLIENT_INFO_META_KEY: client.info or HUB_INFO,
    }
    if client.log_level:
        meta[LOG_LEVEL_META_KEY] = client.log_level
    return meta


def reader_of(spec: UpstreamSpec) -> ClientFacts:
    """The hub as it reads what the upstream offers: it declares whatever a client could there.

    Some servers list tools only to clients that declare what these need (SDK examples, server-everything).
    """
    return ClientFacts({name: value for name, value in ALL_BRIDGED.items() if name not in spec.withheld})


def offered(client: ClientFacts, holder: str) -> dict[str, Any]:
    """The capabilities declared to a handshake upstream: none of a client's own on a shared connection."""
    if not holder:
        return {}
    return {name: client.capabilities[name] for name in PASSED if name in client.capabilities}
