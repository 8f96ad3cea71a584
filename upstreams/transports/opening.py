"""How a connection begins in each era: `initialize` (handshake) or `server/discover` (modern)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from upstreams.errors import ProtocolFault, RpcError, UpstreamFailed
from upstreams.transports.base import own
from upstreams.transports.envelope import HUB_INFO
from upstreams.types import HANDSHAKE_REVISIONS, MODERN, Answer, Exchange, ServerFacts

OFFERED: Final = HANDSHAKE_REVISIONS[-1]
UNSUPPORTED_VERSION: Final = -32022
MODERN_ERRORS: Final = frozenset({-32020, -32021, UNSUPPORTED_VERSION})


def initialize(capabilities: Mapping[str, Any]) -> Exchange:
    """The first request of the handshake era; offers the newest handshake revision."""
    return own("initialize", {"protocolVersion": OFFERED, "capabilities": dict(capabilities), "clientInfo": HUB_INFO})


def discover() -> Exchange:
    """The request that only a modern upstream answers."""
    return own("server/discover")


def handshake_facts(answer: Answer) -> ServerFacts:
    """What `initialize` answered. Raises `UpstreamFailed` for its error, `ProtocolFault` for a bad result."""
    if answer.error is not None:
        raise UpstreamFailed(f"The upstream refused to start a session (error {answer.error.code}).")
    result = _object(answer.result)
    revision = result.get("protocolVersion")
    if revision not in HANDSHAKE_REVISIONS:
        raise ProtocolFault("The upstream chose a protocol revision that the hub does not know.")
    return ServerFacts(
        "handshake",
        str(revision),
        _mapping(result.get("capabilities")),
        _mapping(result.get("serverInfo")),
        _text(result.get("instructions")),
    )


def modern_facts(answer: Answer) -> ServerFacts | None:
    """What `server/discover` answered, or None when that is no evidence of a modern upstream."""
    if answer.error is not None:
        return None
    try:
        result = _object(answer.result)
    except ProtocolFault:
        return None
    supported = result.get("supportedVersions")
    if not isinstance(supported, list) or MODERN not in supported:
        return None
    info = _mapping(result.get("serverInfo")) or _mapping(
        _mapping(result.get("_meta")).get("io.modelcontextprotocol/serverInfo")
    )
    return ServerFacts(
        "modern", MODERN, _mapping(result.get("capabilities")), info, _text(result.get("instructions"))
    )


def is_modern_refusal(error: RpcError | None) -> bool:
    """Whether this error can only come from an upstream that knows the modern era."""
    return error is not None and error.code in MODERN_ERRORS


def _object(result: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(result, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolFault("The upstream opened the connection with a malformed answer.") from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
