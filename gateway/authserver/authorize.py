"""The authorization endpoint: a browser comes with a client's request, a person answers it."""

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.models import Application
from oauth2_provider.oauth2_backends import get_oauthlib_core

from gateway.authserver import approvals, consent, documents, places, redirects
from gateway.authserver.consent import ALL, Stale, Ticket
from gateway.edge import paths
from gateway.types import Route
from mcphub.accounts import acts
from mcphub.accounts.models import Org, User
from mcphub.core.peer import source_of

ONCE: Final = (
    "client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "code_challenge",
    "code_challenge_method", "prompt", "request", "request_uri",
)  # fmt: skip
CHALLENGE_CHARS: Final = 43
BAD_CHALLENGE: Final = "code_challenge must be the base64url text of a SHA-256 (S256)"
UNUSUAL: Final = "Only response_mode=query is offered, and no request objects"
POLICY: Final = "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"


class Sent(Exception):
    """The client is told of a fault at its redirect URI."""

    def __init__(self, error: str, description: str = "") -> None:
        super().__init__(description)
        self.error = error


class Shown(Exception):
    """The person is told of a fault, because no redirect URI can be believed; and what to do next."""

    def __init__(self, title: str, advice: str, status: int = 400) -> None:
        super().__init__(title)
        self.title, self.advice, self.status = title, advice, status


class PrivateRedirect(HttpResponseRedirect):
    """To a redirect URI that was compared with the registered ones, whatever its scheme."""

    def __init__(self, uri: str) -> None:
        self.allowed_schemes = [urlsplit(uri).scheme]
        super().__init__(uri)


@never_cache
@require_http_methods(["GET", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    """Ask the person (GET), and act on the answer (POST)."""
    try:
        answer = _decided(request) if request.method == "POST" else _asked(request)
    except Shown as fault:
        answer = _page(request, "authserver/fault.html", {"fault": fault}, fault.status)
    answer["Content-Security-Policy"] = POLICY
    return answer


def _asked(request: HttpRequest) -> HttpResponse:
    _check_form(request)
    user = request.user
    if not isinstance(user, User):
        return redirect_to_login(request.get_full_path(), reverse("sign-in"))
    core = get_oauthlib_core()
    _know_client(request.GET.get("client_id", ""))
    try:
        scopes, credentials = core.validate_authorization_request(request)
    except FatalClientError as error:
        raise _fatal(error) from None
    except OAuthToolkitError as error:
        found = error.oauthlib_error
        return _back(request, found.redirect_uri, found.state, error=found.error, error_description=found.description)
    try:
        return _consider(request, user, scopes, credentials)
    except Sent as fault:
        return _refuse(request, credentials, fault)


def _consider(request: HttpRequest, user: User, scopes: list[str], credentials: dict[str, Any]) -> HttpResponse:
    """Ask the person about a request that is in order. Raises `Sent`, `Shown`."""
    _check_details(request)
    route = _route(request)
    orgs = consent.orgs_for(user, route)
    if not orgs:
        raise Shown(
            "You are not a member here",
            f"Nothing behind {route.path} is open to {user.email}. Ask an owner of the org for an invitation, "
            "or sign in as somebody else.",
            403,
        )
    asked = consent.ticket(request, credentials, scopes, route)
    host = redirects.host_of(asked.redirect_uri)
    prompts = request.GET.get("prompt", "").split()
    before = None if "consent" in prompts or "login" in prompts else consent.remembered(request, asked, host)
    if before is not None and (before.org is None or before.org in orgs):
        return _let_in(request, user, asked, before.org)
    if "none" in prompts:
        raise Sent("interaction_required")
    return _consent_page(request, asked, route, orgs)


def _consent_page(request: HttpRequest, asked: Ticket, route: Route, orgs: list[Org]) -> HttpResponse:
    application = Application.objects.get(client_id=asked.client_id)
    context = {
        "application": application,
        "name": application.name or "An application without a name",
        "vouched": application.registration_source == Application.RegistrationSource.MANUAL,
        "document": asked.client_id if documents.is_document_id(asked.client_id) else "",
        "host": redirects.host_of(asked.redirect_uri),
        "local": not redirects.is_claimed(asked.redirect_uri),
        "redirect_uri": asked.redirect_uri,
        "endpoint": places.resource_url(request, route.path),
        "upstream": route.upstream,
        "orgs": orgs,
        "all": ALL if consent.may_be_all(orgs, route) else "",
        "stays": "offline_access" in asked.scope.split(),
        "ticket": consent.seal(request, asked),
    }
    return _page(request, "authserver/consent.html", context)


def _decided(request: HttpRequest) -> HttpResponse:
    user = request.user
    if not isinstance(user, User):
        raise Shown("You are signed out", "Sign in, and begin again in the application.", 403)
    try:
        asked = consent.unseal(request, request.POST.get("ticket", ""))
    except Stale:
        raise Shown("This page is too old, or was used already", "Begin again in the application.") from None
    if request.POST.get("answer") != "allow":
        return _back(request, asked.redirect_uri, asked.state, error="access_denied")
    return _let_in(request, user, asked, _chosen(user, asked, request.POST.get("org", "")))


def _chosen(user: User, asked: Ticket, wanted: str) -> Org | None:
    """The org that the person chose, None for all. Raises `Shown` for one that they could not choose."""
    route = paths.parse(asked.path)
    orgs = consent.orgs_for(user, route) if route else []
    if route and wanted == ALL and consent.may_be_all(orgs, route):
        return None
    for org in orgs:
        if str(org.pk) == wanted or (len(orgs) == 1 and not wanted):
            return org
    raise Shown("No org was chosen", "Go back and choose one.")


def _let_in(request: HttpRequest, user: User, asked: Ticket, org: Org | None) -> HttpResponse:
    application = Application.objects.get(client_id=asked.client_id)
    choice = approvals.Choice(
        id=UUID(asked.id),
        application=application,
        org=org,
        path=asked.path,
        scope=asked.scope,
        redirect_host=redirects.host_of(asked.redirect_uri),
        browser=consent.mark_browser(request),
    )
    try:
        approvals.approve(user, choice, acts.person(user, source_of(request)))
    except approvals.TooMany:
        raise Shown(
            "Too many applications are connected", "End some that you no longer use, and try again."
        ) from None
    except IntegrityError:
        raise Shown("This page was used already", "Begin again in the application.") from None
    return consent.keep_mark(request, PrivateRedirect(_with_code(request, asked, choice)))


def _with_code(request: HttpRequest, asked: Ticket, choice: approvals.Choice) -> str:
    """The redirect URI with a new code. Raises `Shown` when the client changed meanwhile."""
    credentials = {
        "client_id": asked.client_id,
        "redirect_uri": asked.redirect_uri,
        "response_type": "code",
        "state": asked.state or None,
        "code_challenge": asked.code_challenge,
        "code_challenge_method": "S256",
        "approval_id": choice.id,
    }
    request.META["QUERY_STRING"] = ""
    try:
        uri, *_ = get_oauthlib_core().create_authorization_response(request, asked.scope.split(), credentials, True)
    except OAuthToolkitError as error:
        approvals.end(approvals.living().filter(pk=choice.id), "no code was made")
        raise _fatal(error) from None
    parts = urlsplit(str(uri))
    answer = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "iss"]
    return parts._replace(query=urlencode([*answer, ("iss", places.issuer(request))])).geturl()


# --- faults ------------------------------------------------------------------------------------------


def _check_form(request: HttpRequest) -> None:
    if len(request.META.get("QUERY_STRING", "")) > settings.HUB.limits.authorize_bytes:
        raise Shown("The request is too large", "Tell whoever makes the application.", 414)
    twice = [name for name in ONCE if len(request.GET.getlist(name)) > 1]
    if twice:
        raise Shown(f"The request names {twice[0]} twice", "Tell whoever makes the application.")
    if any("\x00" in value for values in dict(request.GET.lists()).values() for value in values):
        raise Shown("The request holds characters that it may not", "Tell whoever makes the application.")


def _know_client(client_id: str) -> None:
    if documents.is_document_id(client_id):
        try:
            DOCUMENTS.refresh(client_id)
        except documents.Unreadable as error:
            raise Shown("The application cannot be recognised", str(error)) from None


def _fatal(error: Any) -> Shown:
    known = {
        "invalid_client_id": ("The application is not known here", "Remove the connection in it and add it anew."),
        "mismatching_redirect_uri": (
            "The application wants its answer sent somewhere it has not registered",
            "Do not go on unless you trust it. Remove the connection in it and add it anew.",
        ),
    }
    name = type(error.oauthlib_error).__name__
    kind = "mismatching_redirect_uri" if "Redirect" in name else "invalid_client_id" if "ClientId" in name else ""
    title, advice = known.get(kind, ("The request cannot be understood", "Tell whoever makes the application."))
    return Shown(title, advice)


def _check_details(request: HttpRequest) -> None:
    asked = request.GET
    if asked.get("response_type") != "code":
        raise Sent("unsupported_response_type")
    challenge = asked.get("code_challenge", "")
    plain = challenge.replace("-", "").replace("_", "")
    well_formed = len(challenge) == CHALLENGE_CHARS and plain.isascii() and plain.isalnum()
    if asked.get("code_challenge_method") != "S256" or not well_formed:
        raise Sent("invalid_request", BAD_CHALLENGE)
    if asked.get("response_mode", "query") != "query" or "request" in asked or "request_uri" in asked:
        raise Sent("invalid_request", UNUSUAL)


def _route(request: HttpRequest) -> Route:
    """The one endpoint that is asked for. Raises `Sent`."""
    named = request.GET.getlist("resource")
    route = paths.parse(places.DEFAULT_PATH) if not named else places.endpoint(named[0], request)
    if route is None or len(named) > 1:
        raise Sent("invalid_target", "resource must be the URL of one MCP endpoint of this hub")
    return route


def _refuse(request: HttpRequest, credentials: dict[str, Any], fault: Sent) -> HttpResponse:
    return _back(
        request,
        credentials["redirect_uri"],
        credentials["state"],
        error=fault.error,
        error_description=str(fault) or None,
    )


def _back(request: HttpRequest, redirect_uri: str | None, state: str | None, **said: str | None) -> HttpResponse:
    """To the client, with what is said, its state and our name (RFC 9207)."""
    if not redirect_uri:
        raise Shown("The request cannot be understood", "Tell whoever makes the application.")
    members = {**said, "state": state, "iss": places.issuer(request)}
    query = urlencode({name: value for name, value in members.items() if value})
    return PrivateRedirect(f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}")


def _page(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    return render(request, template, context, status=status)


DOCUMENTS: Final = documents.Documents()
