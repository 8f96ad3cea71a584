"""How a call that does not end well is told: to a model in words, to programs as facts."""

import json
import math
from dataclasses import dataclass
from typing import Final

from gateway.errors import EFFECT, INVALID_PARAMS, REASONS, Reason, advice
from gateway.types import Unavailable
from upstreams.errors import Outcome, RpcError, UpstreamError


@dataclass(frozen=True, slots=True)
class Failure:
    """How one call failed; `text` is a plain sentence that names no URL, header, stack or token.

    `link` is a page of the hub that the person has to open, "" for none; `retry_after` seconds to wait, 0 if unknown.
    """

    reason: Reason
    text: str
    outcome: Outcome
    retryable: bool = False
    link: str = ""
    retry_after: int = 0

    @classmethod
    def of(cls, error: UpstreamError) -> "Failure":
        """The failure that an upstream error amounts to."""
        wait_s = math.ceil(error.retry_after or 0)
        text = f"{error.text} Wait {wait_s} s." if wait_s else error.text
        return cls(error.reason, text, error.outcome, error.retryable, retry_after=wait_s)  # type: ignore[arg-type]  # closed list

    def told(self, call_id: str) -> str:
        """What happened, whether it may have taken effect, what to do, and the call id."""
        parts = (
            self.text,
            EFFECT[self.outcome],
            advice(self.reason, self.outcome),
            self.link and f"Open {self.link} and then try again.",
            call_id and f"Call id: {call_id}",
        )
        return " ".join(part for part in parts if part)

    def facts(self, call_id: str) -> dict[str, str | bool | int]:
        """The machine-readable part, under `mcphub/error`."""
        facts: dict[str, str | bool | int] = {
            "reason": self.reason,
            "retryable": self.retryable,
            "outcome": self.outcome,
        }
        if self.link:
            facts["url"] = self.link
        if self.retry_after:
            facts["retry_after"] = self.retry_after
        return {**facts, "call_id": call_id} if call_id else facts


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


def rpc_error(failure: Failure, call_id: str = "") -> RpcError:
    """The failure as the JSON-RPC error of any other method."""
    return RpcError(REASONS[failure.reason].code, failure.told(call_id), {"mcphub/error": failure.facts(call_id)})


def unavailable(failure: Failure, call_id: str = "") -> Unavailable:
    """The failure as the refusal of the whole request: the hub cannot serve anybody as it must."""
    return Unavailable(rpc_error(failure, call_id))


NOT_RECORDED: Final = Failure(
    "audit_unavailable", "The call cannot be recorded right now, so it was not made.", "not_sent", retryable=True
)
ENDING: Final = Failure("draining", "The hub is shutting down.", "not_sent", retryable=True)
NOT_STORED: Final = Failure("storage_unavailable", "The hub's storage does not answer.", "not_sent", retryable=True)
NOT_CONFIRMED: Final = Failure(
    "storage_unavailable", "The hub cannot confirm its configuration right now.", "not_sent", retryable=True
)


def unknown(kind: str, name: str) -> RpcError:
    """The one answer for what is hidden and for what is absent (F52)."""
    return RpcError(INVALID_PARAMS, f"Unknown {kind}: {name}")
