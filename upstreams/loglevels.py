"""The levels of log messages (RFC 5424), least severe first, as MCP names them. Pure."""

from collections.abc import Mapping
from typing import Any, Final

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
RANK: Final[Mapping[str, int]] = {name: rank for rank, name in enumerate(LEVELS)}
MESSAGE: Final = "notifications/message"


def is_lower(one: str, other: str) -> bool:
    """Whether `one` lets more through than `other`; "" lets through whatever the server chooses to send."""
    return bool(one) and (not other or RANK[one] < RANK[other])


def is_heard(message: Mapping[str, Any], level: str) -> bool:
    """Whether somebody who asked for `level` gets this message; "" asked for none in particular."""
    return not level or RANK.get(str(message.get("level")), len(LEVELS)) >= RANK[level]
