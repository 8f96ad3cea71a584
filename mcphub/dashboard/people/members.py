"""Members of an org and the invitations into it."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from mcphub.accounts import invitations, orgs, services
from mcphub.accounts.invitations import Made
from mcphub.accounts.models import Invitation, Membership
from mcphub.accounts.place import Place, in_org
from mcphub.accounts.roles import MEMBER, Right, givable_roles, role_names
from mcphub.accounts.services import Refused
from mcphub.core.clock import now
from mcphub.dashboard.people.forms import Invite, Roles


@dataclass(frozen=True, slots=True)
class Row:
    """A member as the page shows them; `open`: their roles are no more than whoever looks may give."""

    member: Membership
    open: bool
    me: bool


@in_org(Right.VIEW_CONFIG, ("GET",))
def members_page(request: HttpRequest, place: Place) -> HttpResponse:
    """Who belongs to the org, and who is asked to."""
    return _page(request, place)


@in_org(Right.MANAGE_MEMBERS, ("POST",))
def invite(request: HttpRequest, place: Place) -> HttpResponse:
    """Invite somebody; the answer tells whether the mail went, or shows the link to pass on."""
    form = Invite(request.POST, roles=_givable(place))
    if not form.is_valid():
        return _page(request, place, form, status=400)
    try:
        made = invitations.invite(place.org, form.cleaned_data["email"], form.cleaned_data["roles"], by=place.actor)
    except Refused as refusal:
        form.add_error("email", f"{refusal}.".replace("..", "."))
        return _page(request, place, form, status=400)
    return _page(request, place, made=made)


@in_org(Right.MANAGE_MEMBERS, ("POST",))
def renew(request: HttpRequest, place: Place, invitation: UUID) -> HttpResponse:
    """Send or show an invitation anew."""
    row = _invitation(place, invitation)
    try:
        return _page(request, place, made=invitations.renew(row, by=place.actor))
    except Refused as refusal:
        messages.error(request, str(refusal))
    return _back(place)


@in_org(Right.MANAGE_MEMBERS, ("POST",))
def withdraw(request: HttpRequest, place: Place, invitation: UUID) -> HttpResponse:
    """Take an invitation back."""
    row = _invitation(place, invitation)
    try:
        invitations.withdraw(row, by=place.actor)
        messages.success(request, f"The invitation of {row.email} is withdrawn.")
    except Refused as refusal:
        messages.error(request, str(refusal))
    return _back(place)


@in_org(Right.MANAGE_MEMBERS)
def member_page(request: HttpRequest, place: Place, member: UUID) -> HttpResponse:
    """A member's roles, and how to remove them."""
    row = _member(place, member)
    choices = _givable(place) | set(row.roles)
    form = Roles(request.POST if request.method == "POST" else None, roles=choices, initial={"roles": row.roles})
    if form.is_valid():
        try:
            services.set_roles(row, form.cleaned_data["roles"], by=place.actor)
        except Refused as refusal:
            form.add_error("roles", f"{refusal}.")
        else:
            messages.success(request, f"{row.user.email} is now {', '.join(sorted(form.cleaned_data['roles']))}.")
            return _back(place)
    status = 400 if form.errors else 200
    return render(request, "people/member.html", {"place": place, "row": row, "form": form}, status=status)


@in_org(Right.MANAGE_MEMBERS, ("POST",))
def remove(request: HttpRequest, place: Place, member: UUID) -> HttpResponse:
    """End a membership, with the member's keys, grants and accounts here."""
    row = _member(place, member)
    try:
        services.remove_member(row, by=place.actor)
        messages.success(request, f"{row.user.email} is removed. Their keys of {place.org.slug} no longer work.")
    except Refused as refusal:
        messages.error(request, f"{refusal}.")
    return _back(place)


@in_org(None)
def leave(request: HttpRequest, place: Place) -> HttpResponse:
    """Ask, then end one's own membership."""
    own = place.membership
    if own is None:
        raise Http404
    if request.method == "GET":
        return render(request, "people/leave.html", {"place": place})
    try:
        services.remove_member(own, by=place.actor)
    except Refused as refusal:
        messages.error(request, f"{refusal}.")
        return HttpResponseRedirect(reverse("leave", args=[place.org.slug]))
    return HttpResponseRedirect(reverse("home"))


def _page(
    request: HttpRequest, place: Place, form: Invite | None = None, made: Made | None = None, status: int = 200
) -> HttpResponse:
    manages = Right.MANAGE_MEMBERS in place.rights
    givable = _givable(place)
    members = Membership.objects.for_org(place.org).select_related("user", "org")
    context = {
        "place": place,
        "rows": [Row(row, manages and _within(place, row, givable), row.user_id == place.user.pk) for row in members],
        "invitations": invitations.open_in(place.org) if manages else [],
        "form": (form or Invite(roles=givable, initial={"roles": [MEMBER]})) if manages else None,
        "made": made,
        "now": now(),
        "may_delete": orgs.several() and Right.MANAGE_ORG in place.rights,
    }
    return render(request, "people/members.html", context, status=status)


def _givable(place: Place) -> frozenset[str]:
    return givable_roles(str(place.org.pk), place.rights)


def _within(place: Place, row: Membership, givable: frozenset[str]) -> bool:
    """Nobody touches somebody who holds more than they could give."""
    return frozenset(row.roles) & role_names(str(place.org.pk)) <= givable


def _member(place: Place, member: UUID) -> Membership:
    row = Membership.objects.for_org(place.org).select_related("user", "org").filter(pk=member).first()
    if row is None or not _within(place, row, _givable(place)):
        raise Http404
    return row


def _invitation(place: Place, invitation: UUID) -> Invitation:
    row = Invitation.objects.for_org(place.org).select_related("org").filter(pk=invitation).first()
    if row is None or not frozenset(row.roles) <= _givable(place):
        raise Http404
    found: Invitation = row
    return found


def _back(place: Place) -> HttpResponse:
    return HttpResponseRedirect(reverse("members", args=[place.org.slug]))
