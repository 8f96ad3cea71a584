"""What an HTTP answer other than 200 means for the call behind it."""

import email.utils
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from upstreams.errors import (
    EgressRefused,
    NeedsConnection,
    NeedsScope,
    Outcome,
    ProtocolFault,
    RateLimited,
    RpcError,
    UpstreamError,
    UpstreamFailed,
)
from upstreams.transports import wire as messages
from upstreams.transports.http1 import Wire
from upstreams.transports.origin import whole

ALWAYS_OURS: Final = frozenset({401, 403, 429})
MAY_HAVE_RUN: Final = frozenset({502, 504})
# What TypeScript servers answer, with status 400, to a session id that they do not know.
BAD_SESSION: Final = -32000

SCOPE: Final = re.compile(r"""(?:\A|[\s,])scope\s*=\s*"([^"]{1,1000})\"""", re.IGNORECASE)
SCOPES: Final = re.compile(r"\A[\x21\x23-\x5B\x5D-\x7E ]+\Z")


class HttpRefusal(UpstreamFailed):
    """The upstream answered with an HTTP status that is an error, and with nothing of use beside it."""

    def __init__(self, status: int) -> None:
        outcome: Outcome = "unknown" if status in MAY_HAVE_RUN else "failed"
        super().__init__(f"The upstream failed (HTTP {status}).", outcome=outcome)
        self.status = status


def forgot_session(status: int, error: RpcError | None) -> bool:
    """Whether a request inside a session was refused because the session is gone."""
    return status == 404 or (status == 400 and error is not None and error.code == BAD_SESSION)


async def rpc_error(wire: Wire, id: int, alive: Callable[[], None], limit: int) -> RpcError | None:
    """The JSON-RPC error in a refusal's body of at most `limit` bytes, if it belongs to this request (or to none)."""
    if not wire.header(b"content-type").startswith("application/json"):
        return None
    try:
        message = messages.decode(await whole(wire, limit, alive))
    except UpstreamError:
        return None
    if message.error is None or message.id not in (id, None, ""):
        return None
    return messages.error_of(message.error)


def fault(status: int, wire: Wire, most_wait_s: float) -> UpstreamError:
    """The error for a refusal without a JSON-RPC error. Nothing of its body is passed on."""
    if 300 <= status < 400:
        return EgressRefused("The upstream redirects to another place.")
    if status == 401:
        return NeedsConnection("The upstream wants credentials that the hub does not have for it.")
    challenge = wire.header(b"www-authenticate")
    if status == 403 and "insufficient_scope" in challenge:
        return needs_scope(challenge)
    if status == 429:
        seconds = retry_after(wire.header(b"retry-after"), most_wait_s)
        return RateLimited("The upstream takes no more calls for now.", retry_after=seconds)
    if 200 <= status < 300:
        return ProtocolFault(f"The upstream accepted the request without answering it (HTTP {status}).")
    return HttpRefusal(status)


def needs_scope(challenge: str) -> NeedsScope:
    """What a challenge of RFC 6750 asks for; `scopes` are those that it names (section 3, attribute scope)."""
    named = SCOPE.search(challenge)
    scopes = " ".join(named[1].split()) if named and SCOPES.match(named[1]) else ""
    wanted = f": {scopes}" if scopes else ""
    error = NeedsScope(f"The upstream wants more rights than the connected account gave{wanted}.")
    error.scopes = scopes
    return error


def retry_after(value: str, most_s: float) -> float | None:
    """Seconds to wait, from either form of the header (RFC 9110, section 10.2.3), at most `most_s`."""
    if value.strip().isdigit():
        return min(float(value), most_s)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    wait = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(0.0, wait), most_s)
