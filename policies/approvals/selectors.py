"""Held calls as people and programs see them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse

from mcphub.accounts.acts import Actor
from mcphub.accounts.links import absolute
from mcphub.accounts.models import Membership
from mcphub.accounts.roles import Right, rights_of
from mcphub.core.clock import now
from policies.approvals.answering import State, why_not
from policies.approvals.models import CallApproval
from policies.models import Rule
from upstreams.ledger.texts import name_of, pieces

KEPT_SHOWN: Final = 50
PILLS: Final = {
    State.WAITING: "warn",
    State.APPROVED: "good",
    State.USED: "good",
    State.DENIED: "bad",
    State.EXPIRED: "",
    State.REVOKED: "bad",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text; `hidden` is the name of the character where people would not see it."""

    text: str
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A held call for somebody: `rule` is its name, "" when it is gone; `why_not` says why they may not approve it.

    `arguments` is JSON text in which nothing stays hidden; `state` is as of now, an answer that ran out included.
    """

    row: CallApproval
    state: str
    rule: str
    arguments: tuple[Piece, ...]
    why_not: str

    @property
    def waits(self) -> bool:
        return self.state == State.WAITING

    @property
    def holds(self) -> bool:
        """Whether an approval of it is still good for something."""
        return self.state == State.APPROVED

    @property
    def words(self) -> str:
        return str(State(self.state).label)

    @property
    def pill(self) -> str:
        return PILLS[State(self.state)]


def link_of(org: str, id: str) -> str:
    """The full URL of the page of a held call in the org of this slug; it opens nothing without a sign-in."""
    return absolute(reverse("approval", args=[org, id]))


def waiting(org: Any) -> "QuerySet[CallApproval]":
    """What waits for an answer in the org, the oldest first."""
    return CallApproval.objects.for_org(org).filter(state=State.WAITING, ends_at__gt=now()).order_by("asked_at")


def standing(org: Any) -> "QuerySet[CallApproval]":
    """What was approved and may still be made, the latest first."""
    return CallApproval.objects.for_org(org).filter(state=State.APPROVED, ends_at__gt=now()).order_by("-answered_at")


def past(org: Any) -> "QuerySet[CallApproval]":
    """Everything else, the latest first."""
    open_ones = CallApproval.objects.filter(state__in=(State.WAITING, State.APPROVED), ends_at__gt=now())
    return CallApproval.objects.for_org(org).exclude(pk__in=open_ones.values("pk"))


def lines(rows: Iterable[CallApproval], by: Actor) -> list[Line]:
    """Rows as `by` sees them."""
    rows = list(rows)
    ids = {row.rule for row in rows if _is_uuid(row.rule)}
    names = {str(pk): name for pk, name in Rule.objects.filter(pk__in=ids).values_list("pk", "name")}
    return [Line(row, state_now(row), names.get(row.rule, ""), _shown(row), why_not(row, by)) for row in rows]


def state_now(row: CallApproval, at: datetime | None = None) -> str:
    """The state of a row, also where nobody has written down yet that its time is over."""
    over = row.state in (State.WAITING, State.APPROVED) and row.ends_at <= (at or now())
    return State.EXPIRED if over else row.state


def approvers(row: CallApproval) -> list[str]:
    """The e-mails of those who may answer, without the caller."""
    members = Membership.objects.for_org(row.org_id).filter(user__is_active=True).select_related("user")
    return sorted(
        member.user.email
        for member in members
        if member.user_id != row.person and Right.APPROVE in rights_of(str(row.org_id), member.held_roles)
    )


def _shown(row: CallApproval) -> tuple[Piece, ...]:
    text = json.dumps(row.arguments, indent=2, ensure_ascii=False)
    return tuple(Piece(run, name_of(run) if hidden else "") for run, hidden in pieces(text))


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
