"""Where clients come without a browser: token, revocation and registration (RFC 6749, 7009, 7591)."""

import base64
import binascii
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final
from urllib.parse import unquote_plus

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.oauth2_backends import get_oauthlib_core

from gateway.authserver import places, registration, service_tokens
from gateway.authserver.registration import BadMetadata, TooManyClients
from gateway.guesses import Guesses
from mcphub.core.peer import source_of

FORM: Final = "application/x-www-form-urlencoded"
BODY_BYTES: Final = 32 * 1024
ASKED: Final = frozenset(
    {
        "client_id", "client_secret", "code", "code_verifier", "grant_type", "redirect_uri", "refresh_token",
        "resource", "scope", "token", "token_type_hint",
    }
)  # fmt: skip
"""All parameters that mean anything here; others are not even looked at, and only `resource` may be there twice."""

GRANTS: Final = ("authorization_code", "refresh_token", "client_credentials")

View = Callable[[HttpRequest], HttpResponse]


class Fault(Exception):
    """An error answer of RFC 6749 section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.status = error, status


def endpoint(view: View) -> View:
    """A POST endpoint for programs: no cookies count, nobody caches, and scripts of the allowed origins may ask."""

    @csrf_exempt
    @wraps(view)
    def answered(request: HttpRequest) -> HttpResponse:
        if request.method == "OPTIONS":
            return _open(request, HttpResponse(status=204))
        try:
            if request.method != "POST":
                raise Fault("invalid_request", "POST only", 405)
            answer = view(request)
        except Fault as fault:
            answer = _fault(fault)
        answer.setdefault("Cache-Control", "no-store")
        answer.setdefault("Pragma", "no-cache")
        return _open(request, answer)

    return answered


def _open(request: HttpRequest, answer: HttpResponse) -> HttpResponse:
    answer["Access-Control-Allow-Origin"] = "*"
    if request.method == "OPTIONS":
        answer["Access-Control-Allow-Methods"] = "POST, GET, OPTIONS"
        answer["Access-Control-Allow-Headers"] = "Authorization, Content-Type, MCP-Protocol-Version"
        answer["Access-Control-Max-Age"] = "600"
    return answer


def _fault(fault: Fault) -> HttpResponse:
    answer = JsonResponse({"error": fault.error, "error_description": str(fault)}, status=fault.status)
    if fault.status == 405:
        answer["Allow"] = "POST, OPTIONS"
    if fault.status == 401:
        answer["WWW-Authenticate"] = "Basic"
    return answer


@endpoint
def token(request: HttpRequest) -> HttpResponse:
    """Codes, refresh tokens and the secrets of service keys for access tokens."""
    form = _form(request)
    _check_wait(request)
    if form.get("grant_type") not in GRANTS:
        raise Fault("unsupported_grant_type", f"grant_type must be one of {', '.join(GRANTS)}")
    if form.get("grant_type") == "client_credentials":
        answer = _for_service(request, form)
    else:
        answer = _as_asked(request, form, "create_token_response")
    if answer.status_code != 200:
        _guesses().failed(source_of(request))
    return answer


@endpoint
def revoke(request: HttpRequest) -> HttpResponse:
    """A client gives a token back; an unknown one is as good as given back."""
    form = _form(request)
    _check_wait(request)
    return _as_asked(request, form, "create_revocation_response")


@endpoint
def register(request: HttpRequest) -> HttpResponse:
    """Anybody makes a client known; there are limits to how many."""
    if request.content_type != "application/json":
        raise Fault("invalid_client_metadata", "The body must be application/json")
    try:
        made = registration.register(
            registration.read(registration.parsed(_body(request, settings.HUB.limits.client_bytes))),
            source_of(request),
        )
    except BadMetadata as error:
        raise Fault(error.error, str(error)) from None
    except TooManyClients as error:
        return _too_many(error.retry_after)
    return JsonResponse(registration.as_document(made), status=201)


def _for_service(request: HttpRequest, form: QueryDict) -> HttpResponse:
    client_id, secret = _client(request, form)
    path = form.get("resource", places.DEFAULT_PATH)
    made = service_tokens.issue(client_id, secret, path)
    if made is None:
        raise Fault("invalid_client", "No service key has this id and text", 401)
    document = {
        "access_token": made,
        "token_type": "Bearer",
        "expires_in": int(settings.HUB.limits.token_s),
        "scope": "mcp",
    }
    return JsonResponse(document)


def _client(request: HttpRequest, form: QueryDict) -> tuple[str, str]:
    """The id and secret of a client, from Basic or from the form; never from both (RFC 6749 section 2.3)."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        client_id, secret = "", ""
    if scheme.lower() != "basic" or "client_secret" in form:
        raise Fault("invalid_request", "The client must prove itself in one way")
    return unquote_plus(client_id), unquote_plus(secret)


def _as_asked(request: HttpRequest, form: QueryDict, what: str) -> HttpResponse:
    """Let the library answer, which sees our reading of the form."""
    request.POST = form  # type: ignore[assignment]  # the library reads it from there
    _, headers, body, status = getattr(get_oauthlib_core(), what)(request)
    answer = HttpResponse(body or "", status=status, content_type="application/json")
    for name, value in headers.items():
        answer[name] = value
    return answer


def _form(request: HttpRequest) -> QueryDict:
    """The parameters, each once, and resources as paths of this hub. Raises `Fault`."""
    if request.META.get("QUERY_STRING"):
        raise Fault("invalid_request", "Parameters belong into the body, never into the URL")
    if request.content_type != FORM:
        raise Fault("invalid_request", f"The body must be {FORM}")
    sent = QueryDict(_body(request, BODY_BYTES), encoding="utf-8")
    form = QueryDict(mutable=True)
    for name, values in sent.lists():
        if name in ASKED:
            if len(values) > 1 and name != "resource":
                raise Fault("invalid_request", f"{name} is there twice")
            if any("\x00" in value for value in values):
                raise Fault("invalid_request", f"{name} holds characters that it may not")
            form.setlist(name, values)
    if "resource" in form:
        form.setlist("resource", [_path(request, form.getlist("resource"))])
    return form


def _path(request: HttpRequest, resources: list[str]) -> str:
    found = {route.path if (route := places.endpoint(each, request)) else "" for each in resources}
    if len(found) != 1 or "" in found:
        raise Fault("invalid_target", "resource must be the URL of one MCP endpoint of this hub")
    return found.pop()


def _body(request: HttpRequest, limit: int) -> bytes:
    declared = request.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise Fault("invalid_request", f"The body has more than {limit} bytes", 413)
    body = request.read(limit + 1)
    if len(body) > limit:
        raise Fault("invalid_request", f"The body has more than {limit} bytes", 413)
    return bytes(body)


def _check_wait(request: HttpRequest) -> None:
    if wait_s := _guesses().wait(source_of(request)):
        raise Fault("slow_down", f"Too many failed attempts; wait {wait_s} seconds", 429)


def _too_many(retry_after: int) -> HttpResponse:
    fault = {"error": "temporarily_unavailable", "error_description": "Too many registrations from here; wait"}
    return JsonResponse(fault, status=429, headers={"Retry-After": str(retry_after)})


@lru_cache(maxsize=1)
def _guesses() -> Guesses:
    """Failed requests by source, in this process."""
    return Guesses(settings.HUB.limits)


def answers(document: Any) -> HttpResponse:
    """A public JSON document that any script may read, and that is the same for everybody for a while."""
    answer = JsonResponse(document)
    answer["Access-Control-Allow-Origin"] = "*"
    answer["Cache-Control"] = "public, max-age=300"
    return answer
