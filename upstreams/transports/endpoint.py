"""What the HTTP links of one upstream share: connections, path, and the headers of a request."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PARAM_HEADER_PREFIX,
    NAME_BEARING_METHODS,
    encode_header_value,
    mcp_param_headers,
)

from mcphub.core.limits import Limits
from upstreams.transports.headers import CLAIMS_HEADER, NOT_FORWARDED
from upstreams.transports.origin import Headers, Origin, header_lines
from upstreams.types import Exchange, UpstreamSpec

USUAL_NAME: Final = 256
NOTHING: Final[dict[tuple[str, ...], str]] = {}
TAKES_BOTH: Final = "application/json, text/event-stream"


@lru_cache(maxsize=256)
def method_lines(method: str) -> bytes:
    """The header that repeats the method of a modern request."""
    return header_lines([(MCP_METHOD_HEADER, method)])


@lru_cache(maxsize=4096)
def named_lines(method: str, name: str) -> bytes:
    """The headers that repeat method and name of a modern request."""
    return header_lines([(MCP_METHOD_HEADER, method), (MCP_NAME_HEADER, encode_header_value(name))])


class Endpoint:
    """One per upstream. `target` is its path, `param_headers` where the arguments stand that headers mirror."""

    def __init__(self, spec: UpstreamSpec, allow: Sequence[str], limits: Limits) -> None:
        self.origin = Origin(spec.url, (*allow, *spec.egress_allow), spec.connect_s, limits)
        self.target = self.origin.target(spec.url) or "/"
        self.param_headers: dict[str, dict[tuple[str, ...], str]] = {}
        self.headers: Headers = (
            *((name.lower(), value) for name, value in spec.headers.items() if name.lower() not in NOT_FORWARDED),
            ("accept-encoding", "identity"),
            ("accept", TAKES_BOTH),
            ("content-type", "application/json"),
        )

    def mirror(self, exchange: Exchange) -> bytes:
        """The headers that repeat what a modern request says in its body (2026-07-28, request headers)."""
        method, params = exchange.method, exchange.params
        member = "taskId" if method.startswith("tasks/") else NAME_BEARING_METHODS.get(method)
        name = params.get(member) if member is not None else None
        if not isinstance(name, str):
            return method_lines(method)
        lines = named_lines(method, name) if len(name) <= USUAL_NAME else named_lines.__wrapped__(method, name)
        if method == "tools/call":
            mirrored = self.param_headers.get(name, NOTHING)
            if mirrored:
                lines += header_lines(mcp_param_headers(mirrored, params.get("arguments") or {}).items())
            if exchange.param_headers:
                known = {f"{MCP_PARAM_HEADER_PREFIX}{token}".lower() for token in mirrored.values()}
                unknown = ((key, value) for key, value in exchange.param_headers.items() if key not in known)
                lines += header_lines(unknown)
        return lines

    def carried(self, exchange: Exchange, *, in_session: bool) -> bytes:
        """The headers of the client that go on, and the claims about the caller.

        In a session that is not one person's alone the client's are left out: a server may keep what it is told with
        one request of a session, and serve the next with it.
        """
        lines = header_lines([(CLAIMS_HEADER, exchange.claims)]) if exchange.claims else b""
        if exchange.headers and (exchange.holder or not in_session):
            lines += header_lines(exchange.headers.items())
        return lines
