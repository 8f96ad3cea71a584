"""The home page: where clients connect, and how the upstreams are."""

from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix
from django.views.decorators.http import require_GET

from mcphub.accounts import links
from mcphub.accounts.models import Org
from mcphub.accounts.roles import Right
from mcphub.accounts.visitor import orgs_allowing, request_rights
from mcphub.dashboard.clients import PLACEHOLDER, snippets
from upstreams.credentials.models import Credential
from upstreams.credentials.selectors import lost
from upstreams.models import UpstreamState
from upstreams.oauth.due import overdue
from upstreams.selectors import UpstreamHealth, org_health

State = UpstreamState.State
PILLS: Final = {State.UP: "good", State.DOWN: "bad", State.RESTING: "bad", State.CONNECTING: "warn"}


@dataclass(frozen=True, slots=True)
class Line:
    """One upstream as the page shows it."""

    upstream: UpstreamHealth
    label: str
    pill: str
    trouble: str


@dataclass(frozen=True, slots=True)
class OrgPart:
    """One org with its upstreams; `lines` is None for who may not look at its configuration."""

    org: Org
    lines: tuple[Line, ...] | None
    may_manage: bool


@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Everything at a glance; to HTMX only the part with the upstreams, which asks again by itself."""
    partial = bool(request.headers.get("HX-Request"))
    mcp_url = f"{public_url(request)}/mcp"
    parts = _parts(request)
    context = {
        "layout": "dashboard/partial.html" if partial else "base.html",
        "parts": parts,
        "lost": [] if partial else list(lost_accounts(request)),
        "unswept": not partial and any(part.may_manage for part in parts) and overdue(),
        "mcp_url": mcp_url,
        "open_mode": settings.START.no_auth,
        "snippets": snippets(mcp_url, "" if settings.START.no_auth else PLACEHOLDER),
    }
    return render(request, "dashboard/home.html", context)


def lost_accounts(request: HttpRequest) -> "QuerySet[Credential]":
    """Accounts that the signed-in person can connect again, and has to."""
    rights = request_rights(request)
    return lost(f"user:{request.user.pk}", rights, orgs_allowing(request, Right.MANAGE_UPSTREAMS))


def public_url(request: HttpRequest) -> str:
    """The hub's address as this person reaches it, without a slash at the end."""
    return links.home() if settings.HUB.server_url else request.build_absolute_uri(get_script_prefix()).rstrip("/")


def _parts(request: HttpRequest) -> list[OrgPart]:
    rights = request_rights(request)
    return [_part(org, rights[str(org.pk)]) for org in Org.objects.filter(pk__in=rights)]


def _part(org: Org, rights: frozenset[Right]) -> OrgPart:
    lines = tuple(map(_line, org_health(org))) if Right.VIEW_CONFIG in rights else None
    return OrgPart(org, lines, Right.MANAGE_UPSTREAMS in rights)


def _line(upstream: UpstreamHealth) -> Line:
    if not upstream.enabled:
        return Line(upstream, "disabled", "", "")
    if upstream.fault:
        return Line(upstream, "cannot start", "bad", upstream.fault)
    trouble = upstream.last_error if upstream.state != State.UP else ""
    return Line(upstream, State(upstream.state).label, PILLS.get(State(upstream.state), ""), trouble)
