"""Log levels of the protocol (RFC 5424), from the most talkative to the most serious."""

from typing import Final

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
