"""Who has proven an address by a provider's word and has no account: it is made with what they join or found.

Sign-in by a provider calls `begin` and goes to `/join/`; nothing is stored but in that browser's session.
"""

from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.http import HttpRequest

from mcphub.accounts import acts, invitations, orgs, services
from mcphub.accounts.acts import Actor
from mcphub.accounts.invitations import Shown
from mcphub.accounts.models import Invitation, Org, User, normal_email
from mcphub.core.peer import source_of

KEY: Final = "newcomer"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A proven address without an account."""

    email: str
    name: str


def begin(request: HttpRequest, email: str, name: str = "") -> None:
    """Remember in this session that the address was proven just now. Raises `services.Refused` for what is none."""
    request.session[KEY] = {"email": services.checked_email(email), "name": name[:120]}


def may_enter(email: str) -> bool:
    """Whether something awaits who proves this address: an invitation, or an org of their own."""
    return bool(invitations.pending_at(normal_email(email))) or orgs.self_service()


def of(request: HttpRequest) -> Newcomer | None:
    """The newcomer in this session, as long as nobody is signed in and the address has no account."""
    kept = request.session.get(KEY)
    if not kept or request.user.is_authenticated or User.objects.filter(email=kept["email"]).exists():
        return None
    return Newcomer(kept["email"], kept["name"])


def pending(newcomer: Newcomer) -> list[Invitation]:
    """The open invitations of the proven address."""
    return invitations.pending_at(newcomer.email)


def shown(newcomer: Newcomer, slug: str) -> Shown | None:
    """The invitation into the org `slug` for the proven address."""
    found = [row for row in pending(newcomer) if row.org.slug == slug]
    return Shown(found[0], True) if found else None


@transaction.atomic
def accept(request: HttpRequest, newcomer: Newcomer, found: Shown) -> User:
    """Make the account and join. Raises as `invitations.accept`."""
    user = _account(request, newcomer)
    invitations.accept(found, user, by=acts.person(user, source_of(request)))
    return user


@transaction.atomic
def found_org(request: HttpRequest, newcomer: Newcomer, slug: str, name: str) -> tuple[User, Org]:
    """Make the account, the org, and the one the owner of the other. Raises as `orgs.found`."""
    user = _account(request, newcomer)
    return user, orgs.found(user, slug, name, by=acts.person(user, source_of(request)))


def _account(request: HttpRequest, newcomer: Newcomer) -> User:
    by = Actor(newcomer.email, None, source_of(request))
    return services.create_user(newcomer.email, newcomer.name, proven=True, by=by)
