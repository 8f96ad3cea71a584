"""In which org a signed-in person is at the moment, and which pages of it are theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Membership, Org, User
from mcphub.accounts.roles import Right
from mcphub.accounts.visitor import request_rights
from mcphub.core.peer import source_of

KEY: Final = "org"
View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Place:
    """An org, the person in it, and the rights they hold there."""

    org: Org
    user: User
    rights: frozenset[Right]
    source: str

    @property
    def actor(self) -> Actor:
        """Who acts, for the record."""
        return acts.person(self.user, self.source)

    @property
    def membership(self) -> Membership | None:
        """The person's own; None for a hub admin who is no member."""
        return Membership.objects.for_org(self.org).filter(user=self.user).first()


def places(request: HttpRequest) -> list[Org]:
    """The orgs that the signed-in person may enter."""
    return list(Org.objects.filter(pk__in=request_rights(request)))


def here(request: HttpRequest, orgs: list[Org]) -> Org | None:
    """The org that the person entered last, as long as it is theirs; else their first."""
    chosen = request.session.get(KEY)
    return next((org for org in orgs if str(org.pk) == chosen), orgs[0] if orgs else None)


def enter(request: HttpRequest, org: Org) -> None:
    """Make `org` the one that the navigation leads into."""
    if request.session.get(KEY) != str(org.pk):
        request.session[KEY] = str(org.pk)


def in_org(right: Right | None, methods: tuple[str, ...] = ("GET", "POST")) -> Callable[[View], View]:
    """A page of the org named in its path, for members who hold `right` (None: for every member).

    For everybody else there is no such page, whether or not there is such an org.
    """

    def with_place(view: View) -> View:
        @never_cache
        @login_required
        @require_http_methods(list(methods))
        @wraps(view)
        def page(request: HttpRequest, org: str, *args: Any, **kwargs: Any) -> HttpResponse:
            return view(request, _place(request, org, right), *args, **kwargs)

        return page

    return with_place


def _place(request: HttpRequest, slug: str, right: Right | None) -> Place:
    rights = request_rights(request)
    org = Org.objects.filter(slug=slug, pk__in=rights).first()
    if org is None or (right is not None and right not in rights[str(org.pk)]) or not isinstance(request.user, User):
        raise Http404
    enter(request, org)
    return Place(org, request.user, rights[str(org.pk)], source_of(request))
