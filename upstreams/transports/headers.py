"""Headers that belong to the wire between the hub and an upstream, whatever anybody sets beside them."""

from typing import Final

SESSION_HEADER: Final = "mcp-session-id"
CLAIMS_HEADER: Final = "x-mcphub-caller"
NOT_FORWARDED: Final = frozenset(
    {
        *("host", "connection", "content-length", "content-type", "transfer-encoding", "keep-alive", "te", "trailer"),
        *("accept", "accept-encoding", "upgrade", "expect", SESSION_HEADER),
        *("mcp-protocol-version", "mcp-method", "mcp-name"),
    }
)
