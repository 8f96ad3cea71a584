"""Invitations into an org: made, mailed or copied, answered by the person whose address they name.

The link's token proves that its holder received the invitation; the address it proves only where the hub mailed it.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from mcphub.accounts import acts, links, quotas, services
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Invitation, Membership, Org, User
from mcphub.accounts.services import Absent, Exists, Refused
from mcphub.core import mail
from mcphub.core.clock import now
from mcphub.core.keyring import KeyringError, keyring
from mcphub.core.mail import Sent

PURPOSE: Final = "invitation"
MAILED, COPIED = b"m", b"c"
State = Invitation.State


@dataclass(frozen=True, slots=True)
class Made:
    """An invitation, what became of its mail, and the link to pass on where no mail went ("" where one did)."""

    row: Invitation
    sent: Sent
    link: str


@dataclass(frozen=True, slots=True)
class Shown:
    """An invitation that whoever asks may answer. `proves`: the link came by the hub's own mail."""

    row: Invitation
    proves: bool


def invite(org: Org, email: str, roles: Iterable[str], *, by: Actor) -> Made:
    """Ask somebody to join. An open invitation of the same address is replaced.

    Raises `services.Exists` for a member, `services.Refused` for a bad address or role, or over the org's quota.
    """
    with transaction.atomic():
        row = _store(org, services.checked_email(email), services.checked_roles(org, roles), by)
    return _deliver(row, by)


def renew(row: Invitation, *, by: Actor) -> Made:
    """Send or show an open invitation anew, with a new link and a new end. Raises `services.Absent`."""
    if row.state != State.PENDING:
        raise Absent("That invitation was answered or withdrawn.")
    return invite(row.org, row.email, row.roles, by=by)


@transaction.atomic
def withdraw(row: Invitation, *, by: Actor) -> None:
    """Take an open invitation back. Raises `services.Absent` when it is open no longer."""
    _answer(row, State.WITHDRAWN, by)


def open_in(org: Org) -> list[Invitation]:
    """The org's open invitations, the lapsed ones among them."""
    return list(Invitation.objects.for_org(org).filter(state=State.PENDING))


def pending_for(user: User) -> list[Invitation]:
    """Open invitations of a person whose address is proven: what awaits them after sign-in."""
    return pending_at(user.email) if user.email_proven else []


def pending_at(email: str) -> list[Invitation]:
    """Open invitations of an address that whoever asks has just proven to be theirs."""
    return list(_pending().filter(email=email))


def find(slug: str, user: User | None, token: str) -> Shown | None:
    """The invitation into the org `slug` that the link or the proven address opens; None for everything else."""
    by_link = _by_token(token)
    if by_link is not None and by_link.row.org.slug == slug:
        return by_link
    if user is None or not user.email_proven:
        return None
    row = _pending().filter(org__slug=slug, email=user.email).first()
    return Shown(row, False) if row else None


@transaction.atomic
def accept(shown: Shown, user: User, *, by: Actor) -> Membership:
    """Join. Raises `services.Absent` when it is open no longer, `services.Refused` for another person or a quota."""
    row = shown.row
    if user.email != row.email:
        raise Refused(f"This invitation is for {row.email}.")
    _answer(row, State.ACCEPTED, by)
    return services.add_member(row.org, user, row.roles, by=by)


@transaction.atomic
def accept_as_new(shown: Shown, password: str, *, source: str) -> User:
    """Make the person whom the link was sent to, with this password, and let them join.

    An account that nobody vouched for is theirs if the hub mailed the link. Raises as `accept`.
    """
    user: User | None = User.objects.filter(email=shown.row.email).first()
    if user is None:
        user = services.create_user(shown.row.email, proven=shown.proves, by=Actor(shown.row.email, None, source))
    elif user.email_proven or not shown.proves:
        raise Exists(f"{user.email} has an account here already. Sign in with it first.")
    else:
        services.prove_email(user, by=acts.person(user, source))
    user.set_password(password)
    user.save(update_fields=["password"])
    accept(shown, user, by=acts.person(user, source))
    return user


def needs_account(shown: Shown) -> bool:
    """Whether the person has no account of their own yet, so that accepting makes one."""
    user = User.objects.filter(email=shown.row.email).first()
    return user is None or (shown.proves and not user.email_proven)


@transaction.atomic
def decline(shown: Shown, *, by: Actor) -> None:
    """Say no. Raises `services.Absent` when it is open no longer."""
    _answer(shown.row, State.DECLINED, by)


def _store(org: Org, email: str, roles: list[str], by: Actor) -> Invitation:
    services.lock(org)
    members = Membership.objects.for_org(org)
    if members.filter(user__email=email).exists():
        raise Exists(f"{email} is already a member of {org.slug}")
    same = Invitation.objects.for_org(org).filter(email=email, state=State.PENDING)
    same.update(state=State.WITHDRAWN)
    open_ones = _pending().filter(org=org).count()
    if fault := quotas.fault(org, "members", members.count() + open_ones):
        raise Refused(fault)
    row = Invitation.objects.create(
        org=org,
        email=email,
        roles=roles,
        invited_by=by.label[:254],
        expires_at=now() + timedelta(seconds=settings.HUB.limits.invitation_s),
    )
    acts.record(by, org, "invitation.create", email, after=acts.facts(row))
    return row


def _deliver(row: Invitation, by: Actor) -> Made:
    facts = {
        "by": by.label,
        "email": row.email,
        "org": row.org.name,
        "hub": links.absolute(reverse("home")),
        "link": _link(row, MAILED),
        "until": row.expires_at,
    }
    sent = mail.send("invitation", row.email, facts)
    if sent is Sent.YES:
        Invitation.objects.filter(pk=row.pk).update(mailed=True)
        return Made(row, sent, "")
    return Made(row, sent, _link(row, COPIED))


def _link(row: Invitation, how: bytes) -> str:
    token = keyring().seal(PURPOSE, how + row.pk.bytes)
    return links.absolute(reverse("join-link", args=[row.org.slug, token]))


def _by_token(token: str) -> Shown | None:
    try:
        plain = keyring().open(PURPOSE, token)
    except KeyringError:
        return None
    row = _pending().filter(pk=uuid.UUID(bytes=plain[1:])).first()
    return Shown(row, plain[:1] == MAILED) if row else None


def _pending() -> QuerySet[Invitation]:
    rows = Invitation.objects.filter(state=State.PENDING, expires_at__gt=now(), org__enabled=True)
    return rows.select_related("org")


def _answer(row: Invitation, state: State, by: Actor) -> None:
    services.lock(row.org)
    if not Invitation.objects.filter(pk=row.pk, state=State.PENDING).update(state=state):
        raise Absent("That invitation was answered or withdrawn.")
    acts.record(by, row.org, f"invitation.{VERBS[state]}", row.email)


VERBS: Final = {State.ACCEPTED: "accept", State.DECLINED: "decline", State.WITHDRAWN: "withdraw"}
