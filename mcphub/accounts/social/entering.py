"""Which account a provider's word opens. Either somebody is let in, or nothing at all is written.

A person is found by who they are at the provider; the first time by their address, if the provider has verified
it. Nobody becomes a person of this hub by having an account elsewhere.
"""

import hashlib
import time
from typing import Any, Final, NoReturn

from django.db import transaction
from social_django.models import Association, Nonce, UserSocialAuth

from mcphub.accounts import hooks
from mcphub.accounts.models import Membership, User, normal_email
from mcphub.accounts.social.identity import Identity


class NotLetIn(Exception):
    """The provider's word is good, but opens nothing here. `cause` is for the record, `code` for the page."""

    def __init__(self, code: str, cause: str) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause


STALE_S: Final = 3_600
PEOPLE: Final = "people"
NO_EMAIL: Final = "no_email"
UNVERIFIED: Final = "unverified"
STRANGER: Final = "stranger"
DISABLED: Final = "disabled"


@transaction.atomic
def person_behind(identity: Identity) -> User:
    """The person whom this identity opens, with their claims stored. Raises `NotLetIn`."""
    user = _linked(identity) or _by_address(identity)
    if not user.is_active:
        raise NotLetIn(DISABLED, f"{user.email} is disabled")
    members = list(Membership.objects.filter(user=user, org__enabled=True).select_related("org"))
    if not members and not user.is_superuser:
        raise NotLetIn(STRANGER, f"{user.email} is a member of no org")
    link(identity, user)
    store_claims(identity, members)
    return user


def forget_stale() -> None:
    """Drop what unfinished sign-ins have left behind."""
    past = int(time.time()) - STALE_S
    Nonce.objects.filter(timestamp__lt=past).delete()
    Association.objects.filter(issued__lt=past).delete()


def link(identity: Identity, user: User) -> None:
    """Remember who a person is at the provider. No token of theirs is kept."""
    UserSocialAuth.objects.get_or_create(
        provider=identity.provider,
        uid=uid_of(identity),
        defaults={"user": user, "id_key": "sub", "extra_data": {"iss": identity.issuer, "sub": identity.subject}},
    )


def uid_of(identity: Identity) -> str:
    """One text for issuer and subject: the same subject of another issuer is somebody else."""
    return hashlib.sha256(f"{identity.issuer}\0{identity.subject}".encode()).hexdigest()


def store_claims(identity: Identity, members: list[Membership]) -> None:
    """Keep what the provider says of a person with each of their memberships, and the roles that follow from it."""
    claims = {name: list(value) if isinstance(value, tuple) else value for name, value in identity.claims.items()}
    for member in members:
        remap(member, claims)


def remap(member: Membership, claims: dict[str, Any]) -> bool:
    """Give a membership these claims and the roles that follow from them now; whether that changed anything."""
    found = hooks.roles_of_claims(str(member.org_id), PEOPLE, claims)
    roles = sorted({role for some in found for role in some})
    if (member.claims, member.mapped_roles) == (claims, roles):
        return False
    member.claims, member.mapped_roles = claims, roles
    member.save(update_fields=["claims", "mapped_roles"])
    return True


def _linked(identity: Identity) -> User | None:
    found = UserSocialAuth.objects.filter(provider=identity.provider, uid=uid_of(identity)).select_related("user")
    return next((row.user for row in found), None)


def _by_address(identity: Identity) -> User:
    if not identity.email:
        raise NotLetIn(NO_EMAIL, f"{_who(identity)} came without an e-mail address")
    user: User | None = User.objects.filter(email=normal_email(identity.email)).first()
    if not identity.verified:
        known = ", which is the address of somebody here" if user else ""
        raise NotLetIn(UNVERIFIED, f"{_who(identity)} has the unverified address {identity.email}{known}")
    return user if user is not None else _nobody(identity)


def _nobody(identity: Identity) -> NoReturn:
    raise NotLetIn(STRANGER, f"{_who(identity)} with the address {identity.email} is nobody here")


def _who(identity: Identity) -> str:
    return f"subject {identity.subject[:80]} of {identity.issuer}"
