"""What a client is told when a call does not end well: one table for the whole hub (DESIGN §5, errors)."""

import json
from dataclasses import dataclass
from typing import Final, Literal

from gateway.errors import (
    AUDIT_UNAVAILABLE,
    DENIED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    RATE_LIMITED,
    STORAGE_UNAVAILABLE,
)
from gateway.types import Unavailable
from upstreams.errors import Outcome, RpcError, UpstreamError

Reason = Literal[
    "unreachable", "lost", "timeout", "protocol", "too_large", "tls", "egress_blocked", "upstream_error",
    "breaker_open", "needs_connection", "needs_scope", "rate_limited", "agent_lost", "denied",
    "approval_pending", "cancelled", "audit_unavailable", "storage_unavailable",
]  # fmt: skip

CODES: Final[dict[str, int]] = {
    "denied": DENIED,
    "approval_pending": DENIED,
    "rate_limited": RATE_LIMITED,
    "audit_unavailable": AUDIT_UNAVAILABLE,
    "storage_unavailable": STORAGE_UNAVAILABLE,
}

EFFECT: Final[dict[Outcome, str]] = {
    "not_sent": "It was not sent and has had no effect.",
    "failed": "It did not take effect as far as the server says.",
    "unknown": "It may have taken effect.",
    "completed": "It has taken effect.",
}

NEXT: Final[dict[str, str]] = {
    "unreachable": "Try again later.",
    "lost": "Check whether it happened before you try again.",
    "timeout": "Check whether it happened before you try again.",
    "protocol": "Tell the operator: the server does not follow the protocol.",
    "too_large": "Ask for less.",
    "tls": "Tell the operator: the server's certificate is not accepted.",
    "egress_blocked": "Tell the operator: the hub may not connect to that address.",
    "upstream_error": "Try again later, or tell the operator.",
    "breaker_open": "Try again in a while.",
    "needs_connection": "Connect your account first.",
    "needs_scope": "Connect your account again with the scopes named.",
    "rate_limited": "Wait before you try again.",
    "denied": "Do not try again with the same arguments.",
    "approval_pending": "An approval is needed.",
    "cancelled": "",
    "audit_unavailable": "Try again in a while.",
    "storage_unavailable": "Try again in a while.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """How one call failed; `text` is a plain sentence that names no URL, header, stack or token."""

    reason: Reason
    text: str
    outcome: Outcome
    retryable: bool = False

    @classmethod
    def of(cls, error: UpstreamError) -> "Failure":
        """The failure that an upstream error amounts to."""
        wait = f" Wait {error.retry_after:.0f} s." if error.retry_after else ""
        return cls(error.reason, error.text + wait, error.outcome, error.retryable)  # type: ignore[arg-type]  # closed list

    def told(self, call_id: str) -> str:
        """What happened, whether it may have taken effect, what to do, and the call id."""
        parts = (self.text, EFFECT[self.outcome], NEXT[self.reason], f"Call id: {call_id}" if call_id else "")
        return " ".join(part for part in parts if part)

    def facts(self, call_id: str) -> dict[str, str | bool]:
        """The machine-readable part, under `mcphub/error`."""
        return {
            "reason": self.reason,
            "retryable": self.retryable,
            "outcome": self.outcome,
            "call_id": call_id,
        }


def tool_result(failure: Failure, call_id: str) -> bytes:
    """The failure as a `tools/call` result with `isError: true`."""
    return json.dumps(
        {
            "content": [{"type": "text", "text": failure.told(call_id)}],
            "isError": True,
            "_meta": {"mcphub/error": failure.facts(call_id)},
        },
        ensure_ascii=False,
    ).encode()


def rpc_error(failure: Failure, call_id: str) -> RpcError:
    """The failure as the JSON-RPC error of any other method."""
    code = CODES.get(failure.reason, INTERNAL_ERROR)
    return RpcError(code, failure.told(call_id), {"mcphub/error": failure.facts(call_id)})


def unavailable(failure: Failure, call_id: str = "") -> Unavailable:
    """The failure as the refusal of the whole request: the hub cannot serve anybody as it must."""
    return Unavailable(rpc_error(failure, call_id))


NOT_RECORDED: Final = Failure(
    "audit_unavailable", "The call cannot be recorded right now, so it was not made.", "not_sent", retryable=True
)
NOT_STORED: Final = Failure("storage_unavailable", "The hub's storage does not answer.", "not_sent", retryable=True)
NOT_CONFIRMED: Final = Failure(
    "storage_unavailable", "The hub cannot confirm its configuration right now.", "not_sent", retryable=True
)


def unknown(kind: str, name: str) -> RpcError:
    """The one answer for what is hidden and for what is absent (F52)."""
    return RpcError(INVALID_PARAMS, f"Unknown {kind}: {name}")
