"""The handshake era (2024-11-05 … 2025-11-25): initialize, then a session."""

from typing import Any, Final

from gateway.eras.jsonrpc import dumps
from gateway.errors import INVALID_PARAMS, refused
from upstreams.types import HANDSHAKE_REVISIONS, ClientFacts

LATEST: Final = HANDSHAKE_REVISIONS[-1]
CLIENT_BYTES: Final = 64 * 1024
BATCHING: Final = frozenset({"2024-11-05", "2025-03-26"})
"""Revisions in which one POST may carry an array of messages."""


def negotiate(requested: str) -> str:
    """The revision to speak: what the client asked for, or the newest one with a handshake."""
    return requested if requested in HANDSHAKE_REVISIONS else LATEST


def greeting(params: dict[str, Any]) -> tuple[str, ClientFacts]:
    """Revision and client of an `initialize`. Raises `Refused` (400, -32602) when its parameters are malformed."""
    requested = params.get("protocolVersion")
    capabilities = params.get("capabilities")
    info = params.get("clientInfo")
    if not isinstance(requested, str) or not isinstance(capabilities, dict) or not isinstance(info, dict):
        raise refused(
            400, INVALID_PARAMS, "initialize needs protocolVersion (text), capabilities and clientInfo (objects)"
        )
    if len(dumps([capabilities, info])) > CLIENT_BYTES:
        raise refused(400, INVALID_PARAMS, f"capabilities and clientInfo are larger than {CLIENT_BYTES} bytes")
    return negotiate(requested), ClientFacts(capabilities, info, era="handshake")
