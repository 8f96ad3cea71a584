"""How a connection begins in each era: `initialize` (handshake) or `server/discover` (modern)."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import structlog
from mcp.shared.inbound import find_invalid_x_mcp_header, x_mcp_header_map

from upstreams.errors import ProtocolFault, RpcError, UpstreamFailed
from upstreams.reports import Listing
from upstreams.transports.base import own
from upstreams.transports.envelope import HUB_INFO
from upstreams.types import HANDSHAKE_REVISIONS, MODERN, Answer, Exchange, ServerFacts

log = structlog.get_logger(__name__)

OFFERED: Final = HANDSHAKE_REVISIONS[-1]
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
MODERN_ERRORS: Final = frozenset({HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION})


class SpeaksModern(UpstreamFailed):
    """The handshake was refused in a way that only an upstream of the modern era knows."""


def initialize(capabilities: Mapping[str, Any]) -> Exchange:
    """The first request of the handshake era; offers the newest handshake revision."""
    return own("initialize", {"protocolVersion": OFFERED, "capabilities": dict(capabilities), "clientInfo": HUB_INFO})


def discover() -> Exchange:
    """The request that only a modern upstream answers."""
    return own("server/discover")


def handshake_facts(answer: Answer) -> ServerFacts:
    """What `initialize` answered. Raises `UpstreamFailed` for its error, `ProtocolFault` for a bad result."""
    if answer.error is not None and answer.error.code in MODERN_ERRORS:
        raise SpeaksModern("The upstream speaks only the modern era.")
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


def is_about_the_hop(error: RpcError) -> bool:
    """Whether this error speaks of what the hub itself adds, so that no client may see it as its own."""
    return error.code in (HEADER_MISMATCH, UNSUPPORTED_VERSION)


def usable(listing: Listing) -> Listing:
    """Without tools whose `x-mcp-header` annotations are invalid: over HTTP they must be left out (2026-07-28)."""
    fit = []
    for tool in listing.get("tool", ()):
        if (fault := find_invalid_x_mcp_header(tool.get("inputSchema"))) is None:
            fit.append(tool)
        else:
            log.warning("definition_dropped", kind="tool", name=ascii(tool.get("name"))[:80], why=fault)
    return {**listing, "tool": fit} if "tool" in listing else listing


def param_headers(tools: Iterable[Mapping[str, Any]]) -> dict[str, dict[tuple[str, ...], str]]:
    """Tool name → where the arguments stand that are mirrored in `Mcp-Param-*` headers (2026-07-28)."""
    found = {}
    for tool in tools:
        schema = tool.get("inputSchema")
        if find_invalid_x_mcp_header(schema) is None and (annotated := x_mcp_header_map(schema)):
            found[str(tool.get("name"))] = annotated
    return found


def _object(result: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(result, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolFault("The upstream opened the connection with a malformed answer.") from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
