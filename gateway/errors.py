"""Everything that the hub itself says no with: one table of reasons, their JSON-RPC codes and HTTP statuses.

Codes up to -32000 are JSON-RPC's and the specification's; the hub's own lie outside their range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from upstreams.errors import Outcome, RpcError

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
REQUEST_TIMEOUT: Final = -32001
REQUEST_CANCELLED: Final = -32800

DENIED: Final = -31001
RATE_LIMITED: Final = -31010
DRAINING: Final = -31020
AUDIT_UNAVAILABLE: Final = -31022
STORAGE_UNAVAILABLE: Final = -31023

MODERN_HTTP_STATUS: Final[Mapping[int, int]] = MappingProxyType(
    {
        PARSE_ERROR: 400,
        INVALID_REQUEST: 400,
        INVALID_PARAMS: 400,
        HEADER_MISMATCH: 400,
        MISSING_CAPABILITY: 400,
        UNSUPPORTED_VERSION: 400,
        METHOD_NOT_FOUND: 404,
        RATE_LIMITED: 429,
        DRAINING: 503,
        AUDIT_UNAVAILABLE: 503,
        STORAGE_UNAVAILABLE: 503,
    }
)
"""HTTP status of a JSON-RPC error in the modern era; codes that are not here go out with 200."""

Reason = Literal[
    "unreachable", "lost", "timeout", "protocol", "too_large", "tls", "egress_blocked", "upstream_error",
    "breaker_open", "needs_connection", "needs_scope", "rate_limited", "agent_lost", "denied",
    "approval_pending", "cancelled", "draining", "audit_unavailable", "storage_unavailable",
]  # fmt: skip
"""Why a call did not end well; a closed list, which clients may rely on."""


@dataclass(frozen=True, slots=True)
class Row:
    """What goes with a reason: what to do next, and the JSON-RPC code for methods that have no tool result."""

    advice: str
    code: int = INTERNAL_ERROR


CHECK_FIRST: Final = "Check whether it happened before you try again."
TRY_AGAIN: Final = "Try again later."

REASONS: Final[Mapping[Reason, Row]] = MappingProxyType(
    {
        "unreachable": Row(TRY_AGAIN),
        "lost": Row(CHECK_FIRST),
        "timeout": Row(CHECK_FIRST),
        "protocol": Row("Tell the operator: the server does not follow the protocol."),
        "too_large": Row("Ask for less."),
        "tls": Row("Tell the operator: the server's certificate is not accepted."),
        "egress_blocked": Row("Tell the operator: the hub may not connect to that address."),
        "upstream_error": Row("Try again later, or tell the operator."),
        "breaker_open": Row("Try again in a while."),
        "needs_connection": Row("The account has to be connected first."),
        "needs_scope": Row("The account has to be connected again, with the scopes named."),
        "rate_limited": Row("Wait before you try again.", RATE_LIMITED),
        "agent_lost": Row(CHECK_FIRST),
        "denied": Row("Do not try again with the same arguments.", DENIED),
        "approval_pending": Row("An approval is needed.", DENIED),
        "cancelled": Row(""),
        "draining": Row("Try again in a moment.", DRAINING),
        "audit_unavailable": Row(TRY_AGAIN, AUDIT_UNAVAILABLE),
        "storage_unavailable": Row(TRY_AGAIN, STORAGE_UNAVAILABLE),
    }
)

EFFECT: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        "not_sent": "It was not sent and has had no effect.",
        "failed": "It did not take effect as far as the server says.",
        "unknown": "It may have taken effect.",
        "completed": "It has taken effect.",
    }
)
"""Whether a call may have run, in the words that a model reads."""


def advice(reason: Reason, outcome: Outcome) -> str:
    """What to do next; what was certainly not sent need not be looked for."""
    row = REASONS[reason]
    return TRY_AGAIN if row.advice is CHECK_FIRST and outcome == "not_sent" else row.advice


Header = tuple[bytes, bytes]


class Refused(Exception):
    """The edge answers a request itself: an HTTP status with a JSON-RPC error as its body."""

    def __init__(self, status: int, error: RpcError, headers: Sequence[Header] = ()) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = headers


class TooManyAttempts(Exception):
    """This source guesses credentials: HTTP 429 with `Retry-After` (seconds)."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many attempts; wait {retry_after} s")
        self.retry_after = retry_after


def refused(status: int, code: int, message: str, headers: Sequence[Header] = ()) -> Refused:
    """A `Refused` from its parts."""
    return Refused(status, RpcError(code, message), headers)
