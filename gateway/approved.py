"""A call that a person let through, as long as it is under way."""

from typing import Final

import msgspec

from gateway.calls import Call
from mcphub.core.principal import Principal
from policies.approvals.asking import Asked
from policies.types import Decision

ON_THE_WAY: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
"""Of a call that was approved when it began: its task id is sealed and its principal's alone."""


class Approved(msgspec.Struct, frozen=True):
    """By which approval a call is under way, for exactly which call, and how often it has gone on since."""

    id: str
    digest: str
    rounds: int = 0


def asked_of(call: Call, principal: Principal, decision: Decision, call_id: str = "") -> Asked:
    """The call as approvals know it."""
    return Asked(
        call_id,
        principal,
        call.method,
        call.spec.id,
        call.target,
        decision.rule,
        decision.reason,
        call.arguments,
    )


def may_go_on(call: Call, principal: Principal, decision: Decision, approved: Approved | None) -> bool:
    """Whether a call under way is still allowed: by policy, or because this very call was approved."""
    if decision.effect != "ask":
        return decision.effect == "allow"
    return approved is not None and asked_of(call, principal, decision).digest == approved.digest
