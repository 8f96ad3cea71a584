"""What people do with held calls: approve, deny, take back. Each is on record, and counts once."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.core.clock import now
from policies.approvals.models import ApprovalSettings, CallApproval

State = CallApproval.State

ONCE: Final = 0
TERMS: Final = {ONCE: "this call, once", 900: "for 15 minutes", 3_600: "for an hour", 28_800: "for 8 hours"}
"""For how many seconds an approval of a principal and tool may hold, in words."""


class Refused(Exception):
    """The answer does not count; the message says why."""


def own_calls(org: Any) -> bool:
    """Whether people of this org may approve their own calls."""
    return ApprovalSettings.objects.filter(org=org, own_calls=True).exists()


def why_not(row: CallApproval, by: Actor) -> str:
    """Why this one may not approve, as a sentence; "" when they may, as far as their rights go."""
    if by.proven is not None and by.proven.id == row.principal_id:
        return "Nobody approves their own call with the key that makes it."
    if row.person is None or by.user_id != str(row.person):
        return ""
    if by.proven is not None:
        return "Your own calls you approve in the browser, not with a key."
    return "" if own_calls(row.org) else "This is your own call, and in this org somebody else has to approve it."


def approve(row: CallApproval, *, by: Actor, seconds: int = ONCE) -> None:
    """Let this very call through once, or for so long every call of its principal to this tool under the same rule.

    Raises `Refused`.
    """
    if seconds not in TERMS:
        raise Refused("Approve it once, for 15 minutes, an hour or 8 hours.")
    if fault := why_not(row, by):
        raise Refused(fault)
    ends_at = now() + timedelta(seconds=seconds or settings.HUB.limits.approval_s)
    _answer(row, by, State.APPROVED, ends_at, lasting=seconds != ONCE)


def deny(row: CallApproval, *, by: Actor, note: str = "") -> None:
    """Refuse this call and tell its client why; the same one is not asked about for a while. Raises `Refused`."""
    _answer(row, by, State.DENIED, now() + timedelta(seconds=settings.HUB.limits.approval_s), note=note[:300])


def revoke(row: CallApproval, *, by: Actor) -> None:
    """Take back what has not been used up. Raises `Refused`."""
    with transaction.atomic():
        rows = CallApproval.objects.filter(pk=row.pk, state=State.APPROVED, ends_at__gt=now())
        if not rows.update(state=State.REVOKED):
            raise Refused("This approval does not hold any more.")
        acts.record(by, row.org, "approval.revoke", str(row), after={"approval": str(row.pk)})
    row.refresh_from_db()


def _answer(
    row: CallApproval, by: Actor, state: str, ends_at: datetime, *, lasting: bool = False, note: str = ""
) -> None:
    moment = now()
    with transaction.atomic():
        waiting = CallApproval.objects.filter(pk=row.pk, state=State.WAITING, ends_at__gt=moment)
        count = waiting.update(
            state=state, lasting=lasting, ends_at=ends_at, answered_at=moment, answered_by=by.label[:320], note=note
        )
        if not count:
            row.refresh_from_db()
            raise Refused(_answered(row))
        told = {"approval": str(row.pk), "call_id": row.call_id, "principal": row.principal, "digest": row.digest}
        told |= {"until": ends_at.isoformat()} if lasting else {}
        told |= {"note": note} if note else {}
        verb = "deny" if state == State.DENIED else "approve"
        acts.record(by, row.org, f"approval.{verb}", str(row), after=told)
    row.refresh_from_db()


def _answered(row: CallApproval) -> str:
    if row.state == State.WAITING or row.state == State.EXPIRED:
        return "Nobody answered in time. The call is asked about anew when it is made again."
    return f"{row.answered_by} has answered already: {row.get_state_display()}."
