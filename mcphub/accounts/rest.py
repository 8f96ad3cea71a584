"""What every part of the REST API stands on: who asks, which orgs that opens, and what is answered instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org, User
from mcphub.accounts.roles import Right, rights_of
from mcphub.accounts.selectors import rights_by_org
from mcphub.core.peer import source_of
from mcphub.core.principal import KeyScope, Principal

NO_RIGHTS: Final[frozenset[Right]] = frozenset()


class ApiFault(Exception):
    """An answer in place of the one asked for: HTTP status, a stable code, a sentence, and faults by field."""

    def __init__(self, status: int, code: str, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields: Final = dict(fields or {})


def unknown() -> ApiFault:
    """What is not there and what is somebody else's have one answer."""
    return ApiFault(404, "not_found", "There is nothing by that name that you may see.")


def invalid(message: str, **fields: str) -> ApiFault:
    """What was sent cannot be stored."""
    return ApiFault(422, "invalid", message, fields)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a signed-in person in all their orgs, or a proven credential in its one org.

    `rights` by org id; an org that is not in it is unknown to the caller. `user` is the person behind, if any,
    `principal` the credential's, None for a session.
    """

    actor: Actor
    rights: Mapping[str, frozenset[Right]]
    user: User | None = None
    principal: Principal | None = None
    hub_admin: bool = False

    def org(self, slug: str, right: Right | None = None) -> Org:
        """The org, if the caller is in it and holds `right` there. Raises `ApiFault` 404 or 403."""
        org = Org.objects.filter(slug=slug, pk__in=list(self.rights)).first()
        if org is None:
            raise unknown()
        if right is not None and right not in self.rights[str(org.pk)]:
            raise ApiFault(403, "forbidden", f"This needs the right {right.value} in {slug}.")
        return org

    def held(self, org: Org) -> frozenset[Right]:
        """The rights that the caller holds in an org."""
        return self.rights.get(str(org.pk), NO_RIGHTS)


def person_caller(request: HttpRequest, user: User) -> Caller:
    """A person who is signed in at the dashboard."""
    return Caller(acts.person(user, source_of(request)), rights_by_org(user), user, hub_admin=user.is_superuser)


def principal_caller(request: HttpRequest, principal: Principal) -> Caller:
    """A proven credential: the rights of its roles in its org. One that is narrowed to upstreams or tools has none.

    It could otherwise make itself a wider one.
    """
    narrowed = principal.scope != KeyScope()
    places = (principal, *principal.others)
    rights = {each.org.id: NO_RIGHTS if narrowed else rights_of(each.org.id, each.roles) for each in places}
    user = User.objects.filter(pk=principal.user_id).first() if principal.user_id else None
    actor = Actor(principal.label, principal.user_id, source_of(request), principal)
    return Caller(actor, rights, user, principal)


def caller(request: HttpRequest) -> Caller:
    """Who asks, as the API has proven it before the operation began."""
    found: Any = getattr(request, "auth", None)
    if not isinstance(found, Caller):
        raise TypeError("this operation was declared without a proof")
    return found


def org_of(request: HttpRequest, slug: str, right: Right | None = None) -> Org:
    """The org in the path of a request. Raises `ApiFault`."""
    return caller(request).org(slug, right)
