"""What can go wrong on the way to an upstream. One family; each class knows how a call ended.

`reason` is one of the closed list in `gateway.errors`; `outcome` says whether the call may have run.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Outcome = Literal["not_sent", "failed", "unknown", "completed"]


class UpstreamError(Exception):
    """Base. `text` is one plain sentence for people: never a URL, header, stack or token.

    `scopes` are those that the upstream asked for, with blanks between ("" for none).
    """

    reason: ClassVar[str] = "upstream_error"
    passes: ClassVar[bool] = False
    outcome: Outcome = "unknown"
    scopes: str = ""

    def __init__(self, text: str, *, outcome: Outcome | None = None, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.retry_after = retry_after
        if outcome is not None:
            self.outcome = outcome

    @property
    def retryable(self) -> bool:
        """Whether the same call may simply be made again later: it was not sent, and the cause passes by itself."""
        return self.passes and self.outcome == "not_sent"

    def unsent(self, retry_after: float | None = None) -> "UpstreamError":
        """The same trouble, notes and all, as it looks to a call that was not sent because of it."""
        kind = Unreachable if isinstance(self, Lost) else type(self)
        made = kind.__new__(kind, self.text)
        made.__dict__.update(self.__dict__, outcome="not_sent", retry_after=retry_after)
        return made


class Unreachable(UpstreamError):
    reason = "unreachable"
    outcome = "not_sent"
    passes = True


class LinkOver(Unreachable):
    """The link had ended before the request was sent on it; another one may take it."""


class Lost(UpstreamError):
    reason = "lost"
    passes = True


class TimedOut(UpstreamError):
    reason = "timeout"
    passes = True


class ProtocolFault(UpstreamError):
    reason = "protocol"


class TooLarge(UpstreamError):
    reason = "too_large"


class TlsFault(UpstreamError):
    reason = "tls"
    outcome = "not_sent"


class EgressRefused(UpstreamError):
    reason = "egress_blocked"
    outcome = "not_sent"


class UpstreamFailed(UpstreamError):
    reason = "upstream_error"
    outcome = "failed"


class BreakerOpen(UpstreamError):
    reason = "breaker_open"
    outcome = "not_sent"
    passes = True


class NeedsConnection(UpstreamError):
    reason = "needs_connection"
    outcome = "not_sent"


class NeedsScope(UpstreamError):
    reason = "needs_scope"
    outcome = "not_sent"


class RateLimited(UpstreamError):
    reason = "rate_limited"
    outcome = "not_sent"
    passes = True


class Cancelled(UpstreamError):
    reason = "cancelled"


@dataclass(frozen=True, slots=True)
class RpcError:
    """A JSON-RPC error that the upstream itself answered; relayed, not raised."""

    code: int
    message: str
    data: Any = None
