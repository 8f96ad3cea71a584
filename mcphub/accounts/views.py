"""The pages of signing in and out."""

from typing import Any

from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from mcphub.accounts import forgotten, links, sign_in
from mcphub.accounts.forms import ChangePassword, FirstOwner, Forgotten, NewPassword, PasswordSignIn, PickPerson
from mcphub.accounts.models import User
from mcphub.accounts.services import Refused
from mcphub.accounts.social import providers
from mcphub.accounts.throttle import Throttled
from mcphub.core.peer import source_of

LINK = "one_time_link"
MISMATCH = "That e-mail and password do not go together."


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def sign_in_page(request: HttpRequest) -> HttpResponse:
    """Sign in by password or, in development on this machine, by picking a person."""
    if request.method == "GET":
        return _sign_in(request)
    if request.POST.get("way") == "dev":
        return _picked(request)
    return _by_password(request)


def _by_password(request: HttpRequest) -> HttpResponse:
    form = PasswordSignIn(request.POST)
    if not sign_in.password_offered():
        return _sign_in(request, status=403)
    if not form.is_valid():
        return _sign_in(request, form, status=400)
    try:
        sign_in.by_password(request, form.cleaned_data["email"], form.cleaned_data["password"])
    except sign_in.Failed:
        form.add_error(None, MISMATCH)
        return _sign_in(request, form, status=401)
    except Throttled as limit:
        return too_many(request, limit)
    return _onward(request)


def _picked(request: HttpRequest) -> HttpResponse:
    if not sign_in.picker_offered(request):
        return _sign_in(request, status=403)
    form = PickPerson(request.POST)
    if not form.is_valid():
        return _sign_in(request, picker=form, status=400)
    try:
        sign_in.by_picker(request, form.cleaned_data["email"])
    except (sign_in.Failed, Refused):
        form.add_error("email", "Nobody can sign in with that address.")
        return _sign_in(request, picker=form, status=400)
    return _onward(request)


def _sign_in(
    request: HttpRequest, form: Form | None = None, picker: Form | None = None, status: int = 200
) -> HttpResponse:
    offered = sign_in.picker_offered(request)
    form = (form or PasswordSignIn()) if sign_in.password_offered() else None
    if form and not offered:
        form.fields["email"].widget.attrs["autofocus"] = True
    context: dict[str, Any] = {
        "form": form,
        "picker": (picker or PickPerson()) if offered else None,
        "people": User.objects.filter(is_active=True) if offered else (),
        "first": offered and not links.has_owner(links.FIRST_ORG),
        "next": request.POST.get("next") or request.GET.get("next", ""),
        "providers": providers.choices(),
        "may_forget": forgotten.offered(),
    }
    return render(request, "accounts/sign_in.html", context, status=status)


@never_cache
@require_http_methods(["GET", "POST"])
def sign_out_page(request: HttpRequest) -> HttpResponse:
    """Ask, then end this browser's session; a link alone ends nothing."""
    if request.method == "POST":
        logout(request)
        return render(request, "accounts/signed_out.html")
    return render(request, "accounts/sign_out.html")


@never_cache
@require_http_methods(["GET", "POST"])
def forgotten_page(request: HttpRequest) -> HttpResponse:
    """Ask for a link to set a password anew. The answer does not tell whether the address is somebody's."""
    if not forgotten.offered():
        raise Http404
    form = Forgotten(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "accounts/forgotten.html", {"form": form}, status=_of(form))
    try:
        forgotten.wish(form.cleaned_data["email"], source_of(request))
    except Throttled as limit:
        return too_many(request, limit)
    return render(request, "accounts/link_on_its_way.html", {"email": form.cleaned_data["email"]})


@never_cache
@require_GET
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """Take a one-time link into the session and go on without it: its text stays out of logs and referrers."""
    try:
        links.read(token)
    except links.LinkSpent:
        return render(request, "accounts/link_spent.html", status=410)
    request.session[LINK] = token
    return HttpResponseRedirect(reverse("set-password"))


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def set_password_page(request: HttpRequest) -> HttpResponse:
    """What an opened link allows: set a password, or become the first owner. Without one, change one's own."""
    token = request.session.get(LINK)
    if token is None:
        return _change_password(request)
    try:
        return _by_link(request, links.read(token))
    except links.LinkSpent:
        del request.session[LINK]
        return render(request, "accounts/link_spent.html", status=410)


def holds_setup_link(request: HttpRequest) -> bool:
    """Whether this browser has opened the set-up link, and it still works."""
    try:
        return LINK in request.session and links.read(request.session[LINK]).kind == "setup"
    except links.LinkSpent:
        return False


def _by_link(request: HttpRequest, link: links.OneTimeLink) -> HttpResponse:
    kind = FirstOwner if link.kind == "setup" else NewPassword
    form = kind(request.POST if request.method == "POST" else None, user=link.user)
    if form.is_valid():
        try:
            sign_in.by_link(request, link, form.cleaned_data.get("email", ""), form.cleaned_data["password"])
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            request.session.pop(LINK, None)
            return HttpResponseRedirect(get_script_prefix())
    context: dict[str, Any] = {"form": form, "person": link.user}
    if link.kind == "setup":
        context["providers"] = providers.choices()
    return render(request, "accounts/set_password.html", context, status=_of(form))


def _change_password(request: HttpRequest) -> HttpResponse:
    user = request.user
    if not isinstance(user, User):
        return redirect_to_login(request.path, reverse("sign-in"))
    form = ChangePassword(request.POST if request.method == "POST" else None, user=user)
    if form.is_valid():
        try:
            sign_in.change_password(request, user, form.cleaned_data["old"], form.cleaned_data["password"])
        except sign_in.Failed:
            form.add_error("old", "That is not your present password.")
        except Throttled as limit:
            return too_many(request, limit)
        else:
            return _onward(request)
    context = {"form": form, "prepared": user.must_change_password, "next": request.GET.get("next", "")}
    return render(request, "accounts/change_password.html", context, status=_of(form))


def _of(form: Form) -> int:
    return 400 if form.errors else 200


def _onward(request: HttpRequest) -> HttpResponse:
    """To where the person wanted to go, within this hub only."""
    wanted = request.POST.get("next", "")
    inside = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(wanted if inside else get_script_prefix())


def too_many(request: HttpRequest, limit: Throttled) -> HttpResponse:
    """Told to wait."""
    minutes = -(-limit.retry_after // 60)
    answer = render(
        request, "accounts/too_many.html", {"minutes": minutes, "may_forget": forgotten.offered()}, status=429
    )
    answer["Retry-After"] = str(limit.retry_after)
    return answer
