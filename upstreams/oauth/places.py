"""Who may connect what, the address to come back to, and the cookie that binds a sign-in to a browser."""

import secrets
from typing import Final
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from mcphub.accounts.links import absolute
from mcphub.accounts.models import User
from mcphub.accounts.roles import Right
from mcphub.accounts.selectors import rights_by_org
from upstreams.credentials.models import SHARED
from upstreams.models import CredentialKind, CredentialMode, Upstream

COOKIE: Final = "mcphub_connect"
COOKIE_CHARS: Final = 43


def connectable(person: User, upstream_id: UUID, holder: str) -> Upstream:
    """The upstream, if this person may fill this slot of it by OAuth. Raises `Http404` for everything else alike."""
    rows = Upstream.objects.filter(credential_kind=CredentialKind.OAUTH, enabled=True, org__enabled=True)
    row = rows.filter(pk=upstream_id).select_related("org", "state").first()
    rights = rights_by_org(person)
    if row is None or str(row.org_id) not in rights:
        raise Http404
    if holder == SHARED:
        allowed = row.credential_mode == CredentialMode.SHARED and Right.MANAGE_UPSTREAMS in rights[str(row.org_id)]
    else:
        allowed = row.credential_mode == CredentialMode.PER_USER and holder == f"user:{person.pk}"
    if not allowed:
        raise Http404
    return row


def callback_url(request: HttpRequest) -> str:
    """The redirect address to give an authorization server, as this person's browser reaches the hub."""
    path = reverse("oauth-callback")
    return absolute(path) if settings.HUB.server_url else request.build_absolute_uri(path)


def inside(request: HttpRequest, wanted: str) -> str:
    """A path of this hub, or the connect page for anything else."""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe and wanted.startswith("/") else connect_page()


def connect_page() -> str:
    """The page with everybody's own accounts."""
    try:
        return reverse("connections")
    except NoReverseMatch:
        return reverse("home")


def browser_of(request: HttpRequest) -> str:
    """The secret of this browser; "" when it has none."""
    return request.COOKIES.get(_name(), "")


def bind_browser(request: HttpRequest) -> str:
    """The secret of this browser, a new one if it has none that could be the hub's own."""
    held = browser_of(request)
    return held if len(held) == COOKIE_CHARS else secrets.token_urlsafe(32)


def set_browser(answer: HttpResponse, secret: str) -> None:
    """Let the browser keep the secret for as long as a sign-in may take."""
    answer.set_cookie(
        _name(),
        secret,
        max_age=int(settings.HUB.limits.authorization_s),
        path=get_script_prefix() if not _name().startswith("__Host-") else "/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _name() -> str:
    bare = settings.SESSION_COOKIE_SECURE and get_script_prefix() == "/"
    return f"__Host-{COOKIE}" if bare else COOKIE
