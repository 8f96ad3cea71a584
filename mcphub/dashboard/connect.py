"""The pages where people connect their accounts with upstreams."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from gateway import connect
from gateway.connections import Line, line_of, parts_of, seats_of
from mcphub.accounts.models import User
from mcphub.accounts.visitor import actor_of
from mcphub.dashboard.forms import PasteKey
from upstreams.credentials import links, seams, services
from upstreams.credentials.links import LinkEnded

GO_ON = "If a program sent you here, it can go on now."


@never_cache
@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Every upstream that the person may use, and how it stands; to HTMX only the list."""
    partial = bool(request.headers.get("HX-Request"))
    layout = "dashboard/partial.html" if partial else "base.html"
    return render(request, "connect/home.html", {"layout": layout, "parts": parts_of(_user(request))})


@never_cache
@require_GET
@login_required
def upstream_page(request: HttpRequest, upstream_id: UUID) -> HttpResponse:
    """One upstream: its state, what the account may see, and how to connect or disconnect it."""
    return _page(request, _line(request, upstream_id, request.GET.get("for")))


@never_cache
@require_GET
@login_required
def link_page(request: HttpRequest, token: str) -> HttpResponse:
    """The same, reached by a link that was made for one principal; anybody else is told so."""
    try:
        link = links.read(token)
    except LinkEnded:
        return render(request, "connect/link_ended.html", status=410)
    line = line_of(_user(request), UUID(link.upstream_id), link.holder)
    if line is None:
        return render(request, "connect/not_yours.html", status=403)
    return _page(request, line, scopes=link.scopes)


@never_cache
@sensitive_post_parameters("key")
@require_POST
@login_required
def paste_key(request: HttpRequest, upstream_id: UUID) -> HttpResponse:
    """Take an API key, which is tried first where the upstream can be asked, and keep it."""
    line = _changeable(request, upstream_id)
    form = PasteKey(request.POST)
    if not line.by_key or not form.is_valid():
        return _page(request, line, form, status=400)
    given = form.cleaned_data
    try:
        verdict = connect.by_key(
            line, given["key"], by=actor_of(request), take_over=given["take_over"], account=given["account"]
        )
    except connect.Refused as refused:
        form.add_error("key", str(refused))
        return _page(request, line, form, status=400)
    except services.Occupied as occupied:
        form.add_error("take_over", f"{occupied.by} connected it. Say that you take it over.")
        return _page(request, line, form, status=409)
    if verdict.taken == "unknown":
        messages.warning(request, f"Kept, but not tried: {verdict.why}")
    messages.success(request, f"{line.upstream.name} is connected. {GO_ON}")
    return _back(line)


@never_cache
@require_POST
@login_required
def disconnect(request: HttpRequest, upstream_id: UUID) -> HttpResponse:
    """Forget the account; nothing happens when there is none."""
    line = _changeable(request, upstream_id)
    if line.credential is not None:
        services.disconnect(line.credential, by=actor_of(request))
        messages.success(request, f"{line.upstream.name} is disconnected. The hub has forgotten the account.")
    return _back(line)


def _page(
    request: HttpRequest, line: Line, form: PasteKey | None = None, scopes: str = "", status: int = 200
) -> HttpResponse:
    user = _user(request)
    others = [seat for seat in seats_of(user, line.upstream) if seat.holder != line.seat.holder]
    held = line.credential
    context: dict[str, Any] = {
        "line": line,
        "others": others,
        "form": form or PasteKey(),
        "scopes": scopes,
        "begin": reverse(seams.oauth.begin, args=[line.upstream.pk]) if seams.oauth.begin else "",
        "is_somebody_elses": bool(held and held.secret and line.is_shared and held.connected_by != user.email),
    }
    return render(request, "connect/upstream.html", context, status=status)


def _line(request: HttpRequest, upstream_id: UUID, holder: str | None) -> Line:
    line = line_of(_user(request), upstream_id, holder)
    if line is None:
        raise Http404
    return line


def _changeable(request: HttpRequest, upstream_id: UUID) -> Line:
    line = _line(request, upstream_id, request.POST.get("holder"))
    if not line.may_connect or not line.wants_account:
        raise Http404
    return line


def _back(line: Line) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('connect-upstream', args=[line.upstream.pk])}?for={line.seat.holder}")


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
