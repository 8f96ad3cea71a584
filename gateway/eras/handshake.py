"""The handshake era (2024-11-05 … 2025-11-25): initialize, then a session."""

from collections.abc import Iterable
from typing import Any, Final

from gateway.eras.jsonrpc import kind_of
from gateway.eras.meta import check_client
from gateway.errors import INVALID_PARAMS, INVALID_REQUEST, refused
from upstreams.types import HANDSHAKE_REVISIONS, ClientFacts

LATEST: Final = HANDSHAKE_REVISIONS[-1]
BATCHING: Final = frozenset({"2024-11-05", "2025-03-26"})
"""Revisions in which a client may send an array of messages at once."""
BATCH_MESSAGES: Final = 100


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
    check_client(capabilities, info)
    return negotiate(requested), ClientFacts(capabilities, info, era="handshake")


def split_batch(messages: list[Any], revision: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of a batch, and what asks for no answer. Raises `Refused` (400, -32600) for a bad one."""
    if revision not in BATCHING:
        raise refused(400, INVALID_REQUEST, "Batches do not exist in this revision")
    if not 0 < len(messages) <= BATCH_MESSAGES:
        raise refused(400, INVALID_REQUEST, f"A batch holds 1 to {BATCH_MESSAGES} messages")
    kinds = [kind_of(message) for message in messages]
    requests = [message for message, kind in zip(messages, kinds, strict=True) if kind == "request"]
    if any(message["method"] == "initialize" for message in requests):
        raise refused(400, INVALID_REQUEST, "initialize must stand alone")
    return requests, [message for message, kind in zip(messages, kinds, strict=True) if kind != "request"]


def batch_text(bodies: Iterable[bytes]) -> bytes:
    """The responses to a batch as one message."""
    return b"[" + b",".join(bodies) + b"]"
