"""The pages around an authorization server: on the way there, on the way back, and who the hub is."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from gateway.connections import Line, line_of
from mcphub.accounts.models import User
from mcphub.accounts.visitor import actor_of
from mcphub.dashboard.connect import GO_ON
from upstreams.credentials.services import Occupied
from upstreams.models import Upstream
from upstreams.oauth import clients, flow
from upstreams.oauth.errors import OAuthFault
from upstreams.oauth.places import (
    bind_browser,
    browser_of,
    callback_url,
    set_browser,
)
from upstreams.oauth.types import Answer

MOST_SCOPES = 50


class ToAuthorizationServer(HttpResponseRedirect):
    """Away from the hub, to a web page and to nothing else."""

    allowed_schemes = ["http", "https"]  # Django's own attribute


@never_cache
@require_POST
@login_required
def begin(request: HttpRequest, upstream: UUID) -> HttpResponse:
    """Send the browser to the authorization server of an upstream."""
    assert isinstance(request.user, User)
    line = line_of(request.user, upstream, request.POST.get("holder", ""))
    if line is None or not line.may_connect or not line.wants_account or line.by_key:
        raise Http404
    row = line.upstream
    wish = flow.Wish(
        line.seat.holder,
        scopes=tuple(request.POST.get("scopes", "").split()[:MOST_SCOPES]),
        back_to=inside(request, request.POST.get("back", ""), line)[:500],
        issuer=request.POST.get("issuer", ""),
        take_over=bool(request.POST.get("take_over")),
    )
    browser = bind_browser(request)
    try:
        url = flow.begin(row, request.user, browser, wish, callback_url(request))
    except flow.IssuerMoved as moved:
        return _page(request, row, moved, wish, 409)
    except OAuthFault as fault:
        return _page(request, row, fault, wish, 502)
    answer = ToAuthorizationServer(url)
    set_browser(answer, browser)
    return answer


def _page(request: HttpRequest, row: Upstream, fault: OAuthFault, wish: flow.Wish, status: int) -> HttpResponse:
    context = {"upstream": row, "fault": fault, "wish": wish, "moved": isinstance(fault, flow.IssuerMoved)}
    return render(request, "connect/not_begun.html", context, status=status)


@never_cache
@require_GET
@login_required
@sensitive_variables("answer")
def callback(request: HttpRequest) -> HttpResponse:
    """Where an authorization server sends the browser back to."""
    assert isinstance(request.user, User)
    answer = Answer(**{name: request.GET.get(name, "") for name in ("state", "code", "iss", "error")})
    by = actor_of(request)
    try:
        done = flow.complete(answer, request.user, browser_of(request), by)
    except OAuthFault as fault:
        return render(
            request, "connect/not_connected.html", {"text": fault.text, "back": reverse("connections")}, status=400
        )
    except Occupied as taken:
        text = f"The shared account was connected by {taken.by} meanwhile. Take it over on the connect page."
        return render(
            request, "connect/not_connected.html", {"text": text, "back": reverse("connections")}, status=409
        )
    messages.success(request, f"{done.credential.upstream.name} is connected. {GO_ON}")
    return HttpResponseRedirect(done.back_to)


def _not_connected(request: HttpRequest, text: str, status: int) -> HttpResponse:
    return render(request, "connect/not_connected.html", {"text": text}, status=status)


def inside(request: HttpRequest, wanted: str, line: Line) -> str:
    """A path of this hub, or the upstream's own page for anything else."""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    own = f"{reverse('connect-upstream', args=[line.upstream.pk])}?{urlencode({'for': line.seat.holder})}"
    return wanted if safe and wanted.startswith("/") else own


@require_GET
@cache_control(public=True, max_age=3600)
def client_metadata(request: HttpRequest) -> HttpResponse:
    """The hub's client ID metadata document, where it has a public https address."""
    if not clients.document_url():
        raise Http404
    return JsonResponse(clients.document())
