"""What one authorization request asks of a person, kept on the page itself: sealed, for this person in this browser.

Nothing is stored before somebody says yes, so nobody can fill the hub with questions.
"""

import secrets
import time
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from gateway.authserver.models import Approval
from gateway.authserver.redirects import is_claimed
from gateway.types import Route
from mcphub.accounts.models import Membership, Org, User
from mcphub.core.keyring import KeyringError, keyring

PURPOSE: Final = "consent"
BROWSER: Final = "consent-browser"
ALL: Final = "all"
YEAR_S: Final = 31_536_000


class Ticket(msgspec.Struct, frozen=True):
    """A validated request. `id` becomes the approval's id: it is used once. `until` is in seconds since 1970."""

    id: str
    until: int
    client_id: str
    redirect_uri: str
    scope: str
    state: str
    code_challenge: str
    path: str


class Stale(Exception):
    """The page is too old, or was another person's or another browser's."""


def ticket(request: HttpRequest, credentials: dict[str, Any], scopes: list[str], route: Route) -> Ticket:
    """For what `validate_authorization_request` found good."""
    return Ticket(
        id=uuid4().hex,
        until=int(time.time() + settings.HUB.limits.consent_s),
        client_id=credentials["client_id"],
        redirect_uri=credentials["redirect_uri"],
        scope=" ".join(scopes),
        state=credentials["state"] or "",
        code_challenge=credentials["code_challenge"],
        path=route.path,
    )


def seal(request: HttpRequest, asked: Ticket) -> str:
    """The ticket as the page carries it."""
    return keyring().seal(PURPOSE, msgspec.json.encode(asked), _bound_to(request))


def unseal(request: HttpRequest, text: str) -> Ticket:
    """The ticket of a page that this person was shown in this browser. Raises `Stale`."""
    try:
        found = msgspec.json.decode(keyring().open(PURPOSE, text, _bound_to(request)), type=Ticket)
    except (KeyringError, msgspec.MsgspecError):
        raise Stale from None
    if found.until < time.time() or Approval.objects.filter(pk=UUID(found.id)).exists():
        raise Stale
    return found


def _bound_to(request: HttpRequest) -> bytes:
    return f"{request.user.pk} {request.session.session_key}".encode()


def orgs_for(user: User, route: Route) -> list[Org]:
    """The orgs that a person may choose among on this endpoint, by slug."""
    members = Membership.objects.filter(user=user, org__enabled=True).select_related("org").order_by("org__slug")
    return [member.org for member in members if route.org in ("", member.org.slug)]


def may_be_all(orgs: list[Org], route: Route) -> bool:
    """Whether "all of mine" is a choice: on the one endpoint that names no org, to who has several."""
    return route.kind == "aggregate" and route.wire == "streamable" and len(orgs) > 1


def remembered(request: HttpRequest, asked: Ticket, redirect_host: str) -> Approval | None:
    """What this person allowed this client before, to the same host, in this very browser.

    Only where one party owns the redirect URI: any program of a machine can listen on its loopback (RFC 8252 §8.6).
    """
    mark = browser_mark(request)
    if not mark or not is_claimed(asked.redirect_uri):
        return None
    before = Approval.objects.living().filter(
        user=request.user.pk,
        application__client_id=asked.client_id,
        redirect_host=redirect_host,
        path=asked.path,
        browser=mark,
    )
    scopes = set(asked.scope.split())
    return next((each for each in before.select_related("org") if scopes <= set(each.scope.split())), None)


def browser_mark(request: HttpRequest) -> str:
    """A keyed hash of this browser's cookie; "" when it has none."""
    held = request.COOKIES.get(cookie_name(), "")
    return keyring().mac(BROWSER, held.encode()).hex() if held else ""


def mark_browser(request: HttpRequest) -> str:
    """The same, with a new cookie for `keep_mark` when there is none."""
    if not request.COOKIES.get(cookie_name()):
        request.COOKIES[cookie_name()] = secrets.token_urlsafe(32)
    return browser_mark(request)


def keep_mark(request: HttpRequest, answer: HttpResponse) -> HttpResponse:
    """Have the browser keep its cookie, now that a person approved something in it."""
    answer.set_cookie(
        cookie_name(),
        request.COOKIES[cookie_name()],
        max_age=YEAR_S,
        path="/" if _is_host_bound() else settings.START.script_name or "/",
        secure=settings.SECURE,
        httponly=True,
        samesite="Lax",
    )
    return answer


def cookie_name() -> str:
    """Bound to this host alone where that is possible."""
    return "__Host-consent" if _is_host_bound() else "mcphub_consent"


def _is_host_bound() -> bool:
    return bool(settings.SECURE) and not settings.START.script_name
