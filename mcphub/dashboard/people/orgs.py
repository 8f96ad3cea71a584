"""Entering, making and deleting an org."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from mcphub.accounts import acts, newcomers, orgs, place, sign_in
from mcphub.accounts.models import ApiKey, Membership, Org, User
from mcphub.accounts.place import Place, in_org
from mcphub.accounts.roles import Right
from mcphub.accounts.services import Refused
from mcphub.core.peer import source_of
from mcphub.dashboard.people.forms import NewOrg, Typed
from upstreams.models import Upstream


@in_org(None, ("GET",))
def enter(request: HttpRequest, place: Place) -> HttpResponse:
    """Go into an org: from here on the navigation leads into it."""
    return HttpResponseRedirect(reverse("home"))


@never_cache
@require_http_methods(["GET", "POST"])
def new_org(request: HttpRequest) -> HttpResponse:
    """Make an org and become its owner, where that is offered; with one's account when there is none yet."""
    _check_offered(request)
    form = NewOrg(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _new(request, form)
    try:
        org = _found(request, form.cleaned_data["slug"], form.cleaned_data["name"])
    except Refused as refusal:
        form.add_error("slug", f"{refusal}.".replace("..", "."))
        return _new(request, form)
    place.enter(request, org)
    messages.success(request, f"{org.name} is made, and you own it.")
    return HttpResponseRedirect(reverse("home"))


@never_cache
@require_GET
def slug_free(request: HttpRequest) -> HttpResponse:
    """Whether a slug is free, while it is typed."""
    _check_offered(request)
    slug = request.GET.get("slug", "").strip().lower()
    return render(request, "people/slug_state.html", {"state": orgs.slug_state(slug) if slug else None})


@in_org(Right.MANAGE_ORG)
def delete_org(request: HttpRequest, place: Place) -> HttpResponse:
    """Delete an org with everything in it, once its slug was typed."""
    form = Typed(request.POST if request.method == "POST" else None, word=place.org.slug)
    if form.is_valid():
        name = place.org.name
        try:
            orgs.delete(place.org, by=place.actor)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            if request.user.is_authenticated:
                messages.success(request, f"{name} is deleted.")
            return HttpResponseRedirect(reverse("home"))
    context = {"place": place, "form": form, "counts": _counts(place.org)}
    return render(request, "people/delete_org.html", context, status=400 if form.errors else 200)


def _found(request: HttpRequest, slug: str, name: str) -> Org:
    newcomer = newcomers.of(request)
    if newcomer is None:
        assert isinstance(request.user, User)
        return orgs.found(request.user, slug, name, by=acts.person(request.user, source_of(request)))
    user, org = newcomers.found_org(request, newcomer, slug, name)
    sign_in.start(request, user, "self-service")
    request.session.pop(newcomers.KEY, None)
    return org


def _new(request: HttpRequest, form: NewOrg) -> HttpResponse:
    return render(request, "people/new_org.html", {"form": form}, status=400 if form.errors else 200)


def _check_offered(request: HttpRequest) -> None:
    user = request.user if isinstance(request.user, User) else None
    offered = orgs.may_found(user) if user else (orgs.self_service() and newcomers.of(request) is not None)
    if not offered:
        raise Http404


def _counts(org: Org) -> dict[str, int]:
    return {
        "members": Membership.objects.for_org(org).count(),
        "keys": ApiKey.objects.for_org(org).filter(revoked_at=None).count(),
        "upstreams": Upstream.objects.for_org(org).count(),
    }
