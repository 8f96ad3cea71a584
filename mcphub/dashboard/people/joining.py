"""The pages of an invitation: what awaits somebody, and their yes or no."""

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from mcphub.accounts import acts, invitations, newcomers, orgs, place, sign_in
from mcphub.accounts.forms import NewPassword
from mcphub.accounts.invitations import Shown
from mcphub.accounts.models import User
from mcphub.accounts.newcomers import Newcomer
from mcphub.accounts.services import Refused
from mcphub.core.peer import source_of

LINK = "invitation_link"


@never_cache
@require_GET
def welcome(request: HttpRequest) -> HttpResponse:
    """What awaits who has just signed in, or proven an address, and belongs nowhere yet."""
    user, newcomer = _who(request)
    if user is None and newcomer is None:
        return redirect_to_login(request.path, reverse("sign-in"))
    pending = invitations.pending_for(user) if user else newcomers.pending(newcomer) if newcomer else []
    may_found = orgs.may_found(user) if user else orgs.self_service()
    context = {
        "pending": pending,
        "may_found": may_found,
        "email": user.email if user else newcomer.email if newcomer else "",
        "belongs": bool(user and place.places(request)),
    }
    return render(request, "people/welcome.html", context)


@never_cache
@require_GET
def open_link(request: HttpRequest, org: str, token: str) -> HttpResponse:
    """Take the link's token into the session and go on without it: its text stays out of logs and referrers."""
    request.session[LINK] = token
    return HttpResponseRedirect(reverse("join", args=[org]))


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, org: str) -> HttpResponse:
    """Accept or decline an invitation. Without one, the answer is the same for every org and for none."""
    user, newcomer = _who(request)
    shown = invitations.find(org, user, request.session.get(LINK, ""))
    if shown is None and newcomer is not None:
        shown = newcomers.shown(newcomer, org)
    if shown is None:
        if user is None and newcomer is None and LINK not in request.session:
            return redirect_to_login(request.path, reverse("sign-in"))
        return render(request, "people/no_invitation.html", status=404)
    if user is not None and user.email != shown.row.email:
        return render(request, "people/not_yours.html", {"shown": shown}, status=403)
    if request.method == "POST" and request.POST.get("answer") == "decline":
        return _decline(request, shown, user)
    if user is not None:
        return _as_person(request, shown, user)
    if newcomer is not None and newcomer.email == shown.row.email:
        return _as_newcomer(request, shown, newcomer)
    return _as_nobody(request, shown)


def _as_person(request: HttpRequest, shown: Shown, user: User) -> HttpResponse:
    if request.method == "GET":
        return _ask(request, shown)
    try:
        invitations.accept(shown, user, by=acts.person(user, source_of(request)))
    except Refused as refusal:
        return _ask(request, shown, fault=str(refusal))
    return _joined(request, shown)


def _as_newcomer(request: HttpRequest, shown: Shown, newcomer: Newcomer) -> HttpResponse:
    if request.method == "GET":
        return _ask(request, shown)
    try:
        user = newcomers.accept(request, newcomer, shown)
    except Refused as refusal:
        return _ask(request, shown, fault=str(refusal))
    sign_in.start(request, user, "invitation")
    return _joined(request, shown)


def _as_nobody(request: HttpRequest, shown: Shown) -> HttpResponse:
    """Somebody with the link: with an account they sign in first; else the password that they choose makes one."""
    if not invitations.needs_account(shown) or not sign_in.password_offered():
        return _ask(request, shown, sign_in_first=True)
    form = NewPassword(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _ask(request, shown, form=form)
    try:
        user = invitations.accept_as_new(shown, form.cleaned_data["password"], source=source_of(request))
    except Refused as refusal:
        return _ask(request, shown, form=form, fault=str(refusal))
    sign_in.start(request, user, "invitation")
    return _joined(request, shown)


def _ask(
    request: HttpRequest,
    shown: Shown,
    form: NewPassword | None = None,
    fault: str = "",
    sign_in_first: bool = False,
) -> HttpResponse:
    context = {"shown": shown, "form": form, "fault": fault, "sign_in_first": sign_in_first}
    status = 400 if fault or (form is not None and form.errors) else 200
    return render(request, "people/join.html", context, status=status)


def _decline(request: HttpRequest, shown: Shown, user: User | None) -> HttpResponse:
    by = acts.person(user, source_of(request)) if user else acts.Actor(shown.row.email, None, source_of(request))
    try:
        invitations.decline(shown, by=by)
    except Refused as refusal:
        return _ask(request, shown, fault=str(refusal))
    request.session.pop(LINK, None)
    return render(request, "people/declined.html", {"shown": shown})


def _joined(request: HttpRequest, shown: Shown) -> HttpResponse:
    for key in (LINK, newcomers.KEY):
        request.session.pop(key, None)
    place.enter(request, shown.row.org)
    messages.success(request, f"Welcome to {shown.row.org.name}.")
    return HttpResponseRedirect(reverse("home"))


def _who(request: HttpRequest) -> tuple[User | None, Newcomer | None]:
    return (request.user if isinstance(request.user, User) else None), newcomers.of(request)
