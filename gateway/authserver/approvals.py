"""What people allowed: made by consent; ended by them, operators, their client, misuse, or with a membership."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from oauth2_provider.models import Grant, RefreshToken

from gateway.authserver.models import Approval
from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org, User
from mcphub.accounts.selectors import people_principals
from mcphub.core.clock import now
from mcphub.core.principal import Principal

REUSE: Final = "used twice"
BY_CLIENT: Final = "ended by the client"
BY_PERSON: Final = "ended by the person"
BY_OPERATOR: Final = "ended by an operator"
LEFT: Final = "no member any more"
TOUCH_EVERY: Final = timedelta(minutes=1)
AUTHORITY: Final = Actor("authorization server")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person decided on the consent page; `org` None stands for all of theirs."""

    id: UUID
    application: Any
    org: Org | None
    path: str
    scope: str
    redirect_host: str
    browser: str


class TooMany(Exception):
    """The person has as many connected applications as one may have."""


def digest(text: str) -> str:
    """How a code is kept."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def approve(user: User, choice: Choice, by: Actor) -> Approval:
    """Put a decision down, before its code is made. Raises `TooMany`, or `IntegrityError` for an old ticket."""
    limits = settings.HUB.limits
    with transaction.atomic():
        mine = Approval.objects.living().filter(user=user)
        if mine.count() >= limits.applications:
            raise TooMany
        pending = Grant.objects.filter(user=user).order_by("-pk").values_list("pk", flat=True)
        Grant.objects.filter(pk__in=list(pending[max(0, limits.pending_codes - 1) :])).delete()
        made = Approval(user=user, **{name: getattr(choice, name) for name in choice.__slots__})
        made.save(force_insert=True)
        _record(made, by, "application.allow")
    return made


def end(approvals: Iterable[Approval], reason: str, by: Actor = AUTHORITY) -> int:
    """End them with every token that came of them; how many were living."""
    count = 0
    for approval in approvals:
        with transaction.atomic():
            done = Approval.objects.living().filter(pk=approval.pk).update(ended_at=now(), end_reason=reason)
            RefreshToken.revoke_family(approval.pk)
            Grant.objects.filter(application=approval.application_id, user=approval.user_id).delete()
            if done:
                approval.end_reason = reason
                _record(approval, by, "application.end")
                count += 1
    return count


def membership_ended(org_id: str, user_id: str) -> None:
    """See `mcphub.accounts.hooks.on_membership_ended`. Those for all orgs just lose this one."""
    end(living().filter(org=org_id, user=user_id), LEFT)


def living() -> Any:
    """Living approvals, with what others show of them."""
    return Approval.objects.living().select_related("application", "org", "user")


def working(approval_id: UUID | None) -> Approval | None:
    """The approval if it lives and still opens anything: to a member, of an enabled org."""
    found: Approval | None = living().filter(pk=approval_id).first() if approval_id else None
    return found if found is not None and principals([found]).get(found.pk) else None


def principals(approvals: Iterable[Approval]) -> dict[UUID, tuple[Principal, ...]]:
    """Whom each approval stands for now: one principal an org, by slug. None at all where nothing is left."""
    wanted = list(approvals)
    people = people_principals({approval.user_id for approval in wanted})
    return {approval.pk: _own(approval, people.get(approval.user_id, ())) for approval in wanted}


def _own(approval: Approval, person: Iterable[Principal]) -> tuple[Principal, ...]:
    org_id = str(approval.org_id) if approval.org_id else ""
    found = [each for each in person if org_id in ("", each.org.id)]
    return tuple(sorted((_bound(each, approval) for each in found), key=lambda each: each.org.slug))


def _bound(principal: Principal, approval: Approval) -> Principal:
    return replace(
        principal, credential=f"token:{approval.pk.hex}", application=application_name(approval.application)
    )


def application_name(application: Any) -> str:
    """What policy and record call a client: the name that operators gave it, or its own words marked as such.

    A client that registered itself may call itself anything, so its name never equals one that an operator gave.
    """
    if application.registration_source == "cimd":
        return str(application.client_id)[:80]
    if application.registration_source == "dcr":
        return f"dynamic:{application.name}"[:80]
    return str(application.name or application.client_id)[:80]


def redeem(approval: Approval) -> bool:
    """Take the one use of a code, whoever comes first."""
    return bool(Approval.objects.living().filter(pk=approval.pk, redeemed_at=None).update(redeemed_at=now()))


def touch(approval_id: str, source: str) -> None:
    """Note a use, at most once a minute."""
    at = now()
    due = Q(last_used_at=None) | Q(last_used_at__lt=at - TOUCH_EVERY)
    Approval.objects.filter(due, pk=approval_id).update(last_used_at=at, last_used_from=source)


def _record(approval: Approval, by: Actor, action: str) -> None:
    """On record in each org that it concerns."""
    orgs: list[Org] = [approval.org] if approval.org else [each.org for each in approval.user.memberships.all()]
    facts = {
        "client": approval.application.client_id,
        "name": approval.application.name,
        "person": approval.user.email,
        "endpoint": approval.path,
        "orgs": "one" if approval.org else "all",
        "redirect": approval.redirect_host,
        **({"reason": approval.end_reason} if approval.end_reason else {}),
    }
    target = approval.application.name or approval.application.client_id
    for org in orgs:
        acts.record(by, org, action, target, after=facts)
