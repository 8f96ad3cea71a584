"""The links in the head of every page, and the switcher: one list, to which each page adds its line."""

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse

from mcphub.accounts import orgs, place
from mcphub.accounts.models import Org, User
from mcphub.accounts.roles import Right
from mcphub.accounts.visitor import request_rights
from mcphub.dashboard.views import lost_accounts
from policies.approvals.selectors import waiting


@dataclass(frozen=True, slots=True)
class Entry:
    """A link. `of_org`: its URL takes the slug of the present org; `right`: for those who hold it there."""

    label: str
    url_name: str
    of_org: bool = False
    right: Right | None = None


NAVIGATION: Final = (
    Entry("Home", "home"),
    Entry("Connections", "connections"),
    Entry("Applications", "applications"),
    Entry("Approvals", "approvals", of_org=True, right=Right.APPROVE),
    Entry("Members", "members", of_org=True, right=Right.VIEW_CONFIG),
    Entry("Keys", "keys", of_org=True),
    Entry("Service keys", "service-keys", of_org=True, right=Right.MANAGE_KEYS),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A link as a page shows it; `count` is how much waits behind it."""

    label: str
    url: str
    current: bool
    count: int = 0


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Context of every page: the links, and the orgs to switch between (none where there is one org only)."""
    if not isinstance(getattr(request, "user", None), User):
        return {}
    mine = place.places(request)
    here = place.here(request, mine)
    several = orgs.several()
    return {
        "links": _links(request, here),
        "here": here,
        "places": mine if several and len(mine) > 1 else [],
        "may_found": several and isinstance(request.user, User) and orgs.may_found(request.user),
        "several": several,
        "in_admin": any(request_rights(request).values()),
    }


def _links(request: HttpRequest, here: Org | None) -> list[Link]:
    rights = request_rights(request).get(str(here.pk), frozenset()) if here else frozenset()
    shown = [
        item for item in NAVIGATION if not item.of_org or (here and (item.right is None or item.right in rights))
    ]
    return [_link(request, item, here) for item in shown]


def _link(request: HttpRequest, item: Entry, here: Org | None) -> Link:
    url = reverse(item.url_name, args=[here.slug] if item.of_org and here else [])
    return Link(item.label, url, request.path == url, _count(request, item, here))


def _count(request: HttpRequest, item: Entry, here: Org | None) -> int:
    """How many things behind a link wait for this person."""
    if item.url_name == "approvals":
        return waiting(here).count()
    return lost_accounts(request).count() if item.url_name == "connections" else 0
