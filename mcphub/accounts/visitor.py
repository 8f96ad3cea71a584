"""Who is signed in behind a request: their rights by org, and the actor for the record."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org, User
from mcphub.accounts.roles import Right
from mcphub.accounts.selectors import rights_by_org
from mcphub.core.peer import source_of

Rights = dict[str, frozenset[Right]]


def request_rights(request: HttpRequest) -> Rights:
    """The signed-in person's rights by org id, read once a request."""
    held: Rights | None = getattr(request, "_rights_by_org", None)
    if held is None:
        held = rights_by_org(request.user) if isinstance(request.user, User) else {}
        request._rights_by_org = held  # type: ignore[attr-defined]  # a memo on Django's request
    return held


def orgs_allowing(request: HttpRequest, right: Right) -> frozenset[str]:
    """Ids of the orgs where the signed-in person holds `right`."""
    return frozenset(org_id for org_id, held in request_rights(request).items() if right in held)


def orgs_with_record(request: HttpRequest) -> dict[str, str]:
    """Orgs whose audit the signed-in person may read, slug by id; with "" for the installation's own acts."""
    orgs = Org.objects.filter(pk__in=orgs_allowing(request, Right.READ_AUDIT))
    found = {str(pk): slug for pk, slug in orgs.values_list("pk", "slug")}
    return {**found, "": ""} if getattr(request.user, "is_superuser", False) else found


def actor_of(request: HttpRequest) -> Actor:
    """Who acts in this request, for the record."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return acts.person(request.user, source_of(request))
