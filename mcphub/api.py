"""The REST API at `/api/v1`. Every app brings its routers (`api.py`); here they are listed and callers proven.

Callers are proven as at the MCP endpoints (Bearer, `X-API-Key`, the password of Basic, guessing throttled), or by
the dashboard's session with its CSRF token. What is presented decides: a bad key never falls back to a session.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.parser import Parser
from ninja.security import APIKeyHeader, HttpBasicAuth, HttpBearer, SessionAuth
from ninja.utils import check_csrf

from gateway import api as gateway_api
from gateway.core import Core
from gateway.edge.auth import credentials_of
from gateway.errors import TooManyAttempts
from gateway.keys import KeyProver
from gateway.runtime import runtime
from gateway.types import Credentials, NotFound, Route, Unauthenticated
from mcphub import __version__
from mcphub.accounts import api as accounts_api
from mcphub.accounts import issuer_api, rest_errors
from mcphub.accounts.models import User
from mcphub.accounts.rest import ApiFault, Caller, person_caller, principal_caller, unknown
from mcphub.accounts.selectors import key_record, touch_key
from mcphub.accounts.throttle import Throttled
from mcphub.core.peer import source_of
from mcphub.core.principal import Principal
from mcphub.core.strictjson import BadJson, loads
from policies import api as policies_api
from upstreams import api as upstreams_api

PRESENTED: Final = {b"x-api-key": "HTTP_X_API_KEY", b"authorization": "HTTP_AUTHORIZATION"}
ROUTE: Final = Route("org", path="/api/v1")
"""What a token must have been issued for, if for anything, to open the API."""


def proven(request: HttpRequest) -> Caller:
    """Who asks. Raises `AuthenticationError`, `Throttled`, or `HttpError` 403 for a session without its token."""
    if _presented(request):
        return principal_caller(request, _principal(request))
    if not isinstance(request.user, User):
        raise AuthenticationError
    if check_csrf(request) is not None:
        raise HttpError(403, "A change by a browser's session needs its CSRF token (X-CSRFToken).")
    return person_caller(request, request.user)


def _principal(request: HttpRequest) -> Principal:
    """Whose credential it is: API keys are read from the database, all others have their provers."""
    source = source_of(request)
    raw = {name: request.META[key].encode("latin-1", "replace") for name, key in _presented(request)}
    credentials = credentials_of(raw)
    core = runtime().core
    if credentials.secret and not isinstance(core.provers.of(credentials.secret), KeyProver):
        return _by_prover(core, credentials, source)
    record = key_record(credentials.secret) if credentials.secret else None
    if record is not None:
        touch_key(record.id, source)
        return record.principal
    if wait_s := core.guesses.failed(source):
        raise Throttled(wait_s)
    raise AuthenticationError


def _by_prover(core: Core, credentials: Credentials, source: str) -> Principal:
    try:
        return async_to_sync(core.authenticate)(credentials, ROUTE, source)
    except TooManyAttempts as limit:
        raise Throttled(limit.retry_after) from None
    except (Unauthenticated, NotFound):
        raise AuthenticationError from None


def _presented(request: HttpRequest) -> list[tuple[bytes, str]]:
    return [(name, key) for name, key in PRESENTED.items() if key in request.META]


class _Bearer(HttpBearer):
    """An API key or a token."""

    def __call__(self, request: HttpRequest) -> Caller:
        return proven(request)

    def authenticate(self, request: HttpRequest, token: str) -> None:
        """Not asked: whatever was presented is judged above."""


class _Key(APIKeyHeader):
    """The same as a header of its own."""

    param_name = "X-API-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> None:
        """Not asked."""


class _Basic(HttpBasicAuth):
    """Any name, and the key as password."""

    def authenticate(self, request: HttpRequest, username: str, password: str) -> None:
        """Not asked."""


class _StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return loads(request.body)
        except BadJson as error:
            raise HttpError(400, f"The body is not JSON: {error}.") from None


class _Api(NinjaAPI):
    """Answers a wrong method in the API's own shape too."""

    def _get_urls(self) -> list[Any]:
        found = super()._get_urls()
        for pattern in found:
            pattern.callback = _shaped(pattern.callback)
        return found


def _shaped(view: Any) -> Callable[..., HttpResponse]:
    @wraps(view)
    def shaped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        answer = view(request, *args, **kwargs)
        if not isinstance(answer, HttpResponseNotAllowed):
            return answer
        fault = ApiFault(405, "method_not_allowed", f"{request.method} is not among {answer['Allow']}.")
        return rest_errors.answer(fault, {"Allow": answer["Allow"]})

    return csrf_exempt(shaped)


# The first of them judges whatever was presented and raises when it does not hold: the others describe themselves.
api: Final = _Api(
    title="MCP Hub",
    version=__version__,
    urls_namespace="api",
    description="Orgs, people, keys and policy. Lists come in pages by key; PUT by name makes or changes.",
    auth=[_Bearer(), _Key(), _Basic(), SessionAuth()],
    parser=_StrictParser(),
)
rest_errors.install(api)
for router in (
    accounts_api.router,
    issuer_api.router,
    upstreams_api.router,
    policies_api.router,
    gateway_api.router,
):
    api.add_router("", router)


def nothing_there(request: HttpRequest) -> HttpResponse:
    """The answer below `/api/` where no operation is."""
    return rest_errors.answer(unknown())
