"""Which methods exist in one era only (specification changelogs of 2025-11-25 and 2026-07-28)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from upstreams.types import Era

ONLY_IN: Final[Mapping[str, Era]] = MappingProxyType(
    {
        "initialize": "handshake",
        "ping": "handshake",
        "logging/setLevel": "handshake",
        "resources/subscribe": "handshake",
        "resources/unsubscribe": "handshake",
        "server/discover": "modern",
        "subscriptions/listen": "modern",
        "tasks/get": "modern",
        "tasks/update": "modern",
        "tasks/cancel": "modern",
    }
)

NAMED_BY: Final[Mapping[str, str]] = MappingProxyType(
    {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
)
"""Method → the parameter that the `Mcp-Name` header must repeat."""

NAMED_IF_SENT: Final[Mapping[str, str]] = MappingProxyType(
    {"tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}
)
"""Method → the parameter that `Mcp-Name` must repeat when the header is there."""
