"""What the gateway itself refuses: JSON-RPC codes, their HTTP statuses, and the exceptions that carry them.

Codes up to -32000 are JSON-RPC's and the specification's; the hub's own lie outside their range (DESIGN §5).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from upstreams.errors import RpcError

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
