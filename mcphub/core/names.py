"""Words that no org and no upstream may be named: the first segments of the hub's own URLs."""

from typing import Final

RESERVED: Final = frozenset(
    {
        "admin",
        "agent",
        "api",
        "auth",
        "connect",
        "favicon",
        "health",
        "healthz",
        "join",
        "live",
        "mcp",
        "messages",
        "metrics",
        "oauth",
        "ready",
        "robots",
        "set-password",
        "sign-in",
        "sign-out",
        "sse",
        "static",
        "well-known",
        "why",
    }
)
