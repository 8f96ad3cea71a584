"""Keys: a member's own, and service keys for those who manage keys. A key is shown once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from mcphub.accounts import services
from mcphub.accounts.models import ApiKey
from mcphub.accounts.place import Place, in_org
from mcphub.accounts.roles import Right, givable_roles
from mcphub.accounts.services import Refused
from mcphub.core.clock import now
from mcphub.dashboard.clients import snippets
from mcphub.dashboard.people.forms import NewKey, Rotate
from mcphub.dashboard.views import public_url

SHOWN_ENDED: Final = timedelta(days=30)
"""How long a key that ended stays on its page."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """One kind of keys: the name of its page, and whose keys it holds."""

    page: str
    service: bool

    def rows(self, place: Place) -> list[ApiKey]:
        """The working keys, then those that ended of late."""
        mine = ApiKey.objects.for_org(place.org).filter(user=None if self.service else place.user)
        rows = [row for row in mine if not _ended(row) or _ended_at(row) > now() - SHOWN_ENDED]
        return sorted(rows, key=_ended)

    def roles(self, place: Place) -> frozenset[str]:
        """The roles that a new key may have."""
        if self.service:
            return givable_roles(str(place.org.pk), place.rights)
        own = place.membership
        return frozenset(own.roles) if own else frozenset()

    def row(self, place: Place, key: UUID) -> ApiKey:
        """A key of this shelf that works and carries no more than the person could give. Raises `Http404`."""
        rows = ApiKey.objects.for_org(place.org).select_related("org", "user")
        row = rows.filter(pk=key, user=None if self.service else place.user).first()
        if row is None or (self.service and not frozenset(row.roles) <= self.roles(place)):
            raise Http404
        return row


MINE: Final = Shelf("keys", service=False)
SERVICE: Final = Shelf("service-keys", service=True)


def _keys(request: HttpRequest, place: Place, shelf: Shelf) -> HttpResponse:
    if request.method == "GET":
        return _page(request, place, shelf)
    form = _form(place, shelf, request)
    if form is None:
        raise Http404
    if not form.is_valid():
        return _page(request, place, shelf, form)
    chosen = form.cleaned_data
    try:
        made = services.create_key(
            place.org,
            chosen["name"],
            user=None if shelf.service else place.user,
            roles=chosen["roles"],
            upstreams=chosen["upstreams"],
            application=chosen["application"],
            expires_at=form.expires_at(),
            by=place.actor,
        )
    except Refused as refusal:
        form.add_error(None, f"{refusal}.")
        return _page(request, place, shelf, form)
    return _shown(request, place, shelf, made)


def _revoke(request: HttpRequest, place: Place, shelf: Shelf, key: UUID) -> HttpResponse:
    row = shelf.row(place, key)
    try:
        services.revoke_key(row, by=place.actor)
        messages.success(request, f"{row.name} is revoked. What used it is cut off within five seconds.")
    except Refused as refusal:
        messages.error(request, f"{refusal}.")
    return HttpResponseRedirect(reverse(shelf.page, args=[place.org.slug]))


def _rotate(request: HttpRequest, place: Place, shelf: Shelf, key: UUID) -> HttpResponse:
    row = shelf.row(place, key)
    form = Rotate(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose when the old key ends.")
        return HttpResponseRedirect(reverse(shelf.page, args=[place.org.slug]))
    try:
        made = services.rotate_key(row, timedelta(hours=int(form.cleaned_data["grace"])), by=place.actor)
    except Refused as refusal:
        messages.error(request, f"{refusal}.")
        return HttpResponseRedirect(reverse(shelf.page, args=[place.org.slug]))
    return _shown(request, place, shelf, made)


def _page(request: HttpRequest, place: Place, shelf: Shelf, form: NewKey | None = None) -> HttpResponse:
    context = {
        "place": place,
        "shelf": shelf,
        "rows": [(row, _ended(row)) for row in shelf.rows(place)],
        "form": form or _form(place, shelf),
        "rotate": Rotate(),
    }
    return render(request, "people/keys.html", context, status=400 if form is not None else 200)


def _form(place: Place, shelf: Shelf, request: HttpRequest | None = None) -> NewKey | None:
    """None for a hub admin who is no member: a key of one's own speaks for a member."""
    if not shelf.service and place.membership is None:
        return None
    data = request.POST if request else None
    return NewKey(data, org=place.org, roles=shelf.roles(place), needs_role=shelf.service)


def _shown(request: HttpRequest, place: Place, shelf: Shelf, made: services.NewKey) -> HttpResponse:
    """The plain key goes into this one answer: into no message, cookie or session."""
    url = f"{public_url(request)}/mcp"
    context = {"place": place, "shelf": shelf, "made": made, "snippets": snippets(url, made.plain)}
    return render(request, "people/key_shown.html", context)


def _ended(row: ApiKey) -> bool:
    return row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now())


def _ended_at(row: ApiKey) -> datetime:
    return min(moment for moment in (row.revoked_at, row.expires_at) if moment is not None)


def _of(shelf: Shelf, act: Callable[..., HttpResponse], methods: tuple[str, ...]) -> Callable[..., HttpResponse]:
    """`act` on one shelf, as a page."""

    def page(request: HttpRequest, place: Place, **ids: UUID) -> HttpResponse:
        return act(request, place, shelf, **ids)

    return in_org(Right.MANAGE_KEYS if shelf.service else None, methods)(page)


my_keys = _of(MINE, _keys, ("GET", "POST"))
revoke_mine = _of(MINE, _revoke, ("POST",))
rotate_mine = _of(MINE, _rotate, ("POST",))
service_keys = _of(SERVICE, _keys, ("GET", "POST"))
revoke_service = _of(SERVICE, _revoke, ("POST",))
rotate_service = _of(SERVICE, _rotate, ("POST",))
