"""What the gateway asks about a call that a rule holds: whether it may be made now, and if not, what of it."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from mcphub.accounts.models import ApiKey
from mcphub.core.clock import now
from mcphub.core.principal import Principal
from policies.approvals.models import ApprovalSettings, CallApproval
from policies.types import Target

State = CallApproval.State
Said = Literal["go", "wait", "denied", "full", "too_large"]
LIVE: Final = (State.WAITING, State.APPROVED, State.DENIED)
TRIES: Final = 5
SERVICE_KEY: Final = "key:"


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that a rule holds, in the words of policy; `arguments` are the effective ones."""

    call_id: str
    principal: Principal
    method: str
    upstream_id: str
    target: Target
    rule: str
    reason: str
    arguments: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Hex SHA-256 over who calls what with which arguments: another one is another call."""
        target = self.target
        told = [self.principal.org.id, self.principal.id, self.method, self.upstream_id, target.kind, target.name]
        text = json.dumps([*told, self.arguments], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a held call stands: whether it may go on now, and by whose word. `new`: it was not known before."""

    said: Said
    id: str = ""
    by: str = ""
    note: str = ""
    new: bool = False


def knock(asked: Asked) -> Answer:
    """Whether the call may be made now. An approval for once is used up by this; without any, the call is held.

    Blocking. However often and wherever the same call is asked about, one row waits, and one approval lets one pass.
    """
    digest, moment = asked.digest, now()
    if (standing := _standing(asked, moment)) is not None:
        return Answer("go", str(standing.pk), standing.answered_by)
    for _ in range(TRIES):
        row = _known(asked, digest, moment)
        if row is None:
            if (held := _hold(asked, digest, moment)) is not None:
                return held
        elif row.state == State.WAITING:
            return Answer("wait", str(row.pk))
        elif row.state == State.DENIED:
            return Answer("denied", str(row.pk), row.answered_by, row.note)
        elif _move(row.pk, State.APPROVED, state=State.USED, used_at=moment, call_id=asked.call_id):
            return Answer("go", str(row.pk), row.answered_by)
    return Answer("full")


def give_back(id: str) -> None:
    """The call was not made after all: nothing was sent, and it may be made yet. Blocking."""
    _move(UUID(id), State.USED, state=State.APPROVED, used_at=None)


def goes_on(id: str, digest: str, rounds: int) -> bool:
    """Whether an approved call may go on after a wait in its middle, for the first time since. Blocking."""
    rows = CallApproval.objects.filter(pk=UUID(id), digest=digest, state=State.USED, rounds=rounds)
    return rows.update(rounds=F("rounds") + 1) == 1


def answered(ids: Collection[str]) -> set[str]:
    """Those of these held calls that do not wait any more. Blocking."""
    rows = CallApproval.objects.filter(pk__in=ids, state=State.WAITING, ends_at__gt=now())
    return set(ids) - {str(pk) for pk in rows.values_list("pk", flat=True)}


def _move(pk: UUID, before: str, **changes: Any) -> bool:
    return CallApproval.objects.filter(pk=pk, state=before).update(**changes) == 1


def _standing(asked: Asked, moment: datetime) -> CallApproval | None:
    return (
        CallApproval.objects.for_org(asked.principal.org)
        .filter(
            principal_id=asked.principal.id,
            state=State.APPROVED,
            lasting=True,
            ends_at__gt=moment,
            rule=asked.rule,
            kind=asked.target.kind,
            upstream_id=asked.upstream_id,
            name=asked.target.name,
        )
        .first()
    )


def _known(asked: Asked, digest: str, moment: datetime) -> CallApproval | None:
    rows = CallApproval.objects.for_org(asked.principal.org).filter(
        principal_id=asked.principal.id, digest=digest, state__in=LIVE, lasting=False, ends_at__gt=moment
    )
    return rows.order_by("-asked_at").first()


def _hold(asked: Asked, digest: str, moment: datetime) -> Answer | None:
    """Hold it; None when somebody else just did."""
    limits, principal = settings.HUB.limits, asked.principal
    if len(json.dumps(asked.arguments)) > limits.approval_bytes:
        return Answer("too_large")
    mine = CallApproval.objects.for_org(principal.org).filter(principal_id=principal.id, state=State.WAITING)
    mine.filter(digest=digest, ends_at__lte=moment).update(state=State.EXPIRED)
    if mine.filter(ends_at__gt=moment).count() >= limits.approvals:
        return Answer("full")
    row = CallApproval(
        org_id=principal.org.id,
        call_id=asked.call_id,
        principal_id=principal.id,
        principal=principal.label[:320],
        person=_person(principal),
        application=principal.application[:200],
        method=asked.method,
        kind=asked.target.kind,
        upstream_id=asked.upstream_id,
        upstream=asked.target.upstream,
        name=asked.target.name,
        risk=asked.target.risk,
        rule=asked.rule,
        reason=asked.reason[:300],
        digest=digest,
        asked_at=moment,
        ends_at=moment + timedelta(seconds=limits.approval_s),
        hook_due_at=moment if _has_hook(principal.org.id) else None,
    )
    row.arguments = dict(asked.arguments)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return None
    return Answer("wait", str(row.pk), new=True)


def _person(principal: Principal) -> UUID | None:
    """Who is behind a principal: of a service key whoever made it."""
    if principal.user_id:
        return UUID(principal.user_id)
    if not principal.id.startswith(SERVICE_KEY):
        return None
    found: UUID | None = (
        ApiKey.objects.filter(pk=principal.id.removeprefix(SERVICE_KEY)).values_list("made_by", flat=True).first()
    )
    return found


def _has_hook(org_id: str) -> bool:
    return ApprovalSettings.objects.filter(org_id=org_id).exclude(webhook_url="").exists()
