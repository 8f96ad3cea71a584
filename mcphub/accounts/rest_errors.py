"""Everything that can go wrong in the REST API, and the one shape of the answer."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from django.core.exceptions import RequestDataTooBig, ValidationError
from django.db import DatabaseError, DataError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as BadInput

from mcphub.accounts.rest import ApiFault, unknown
from mcphub.accounts.services import Absent, Exists, LastOwner, Refused
from mcphub.accounts.throttle import Throttled

CODES: Final[Mapping[int, str]] = {400: "bad_request", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}
CHALLENGE: Final = 'Bearer realm="MCP Hub", Basic realm="MCP Hub", charset="UTF-8"'
REFUSALS: Final[tuple[tuple[type[Refused], int, str], ...]] = (
    (Exists, 409, "exists"),
    (LastOwner, 409, "last_owner"),
    (Absent, 404, "not_found"),
    (Refused, 422, "refused"),
)

log = structlog.get_logger(__name__)


def answer(fault: ApiFault, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A fault as an HTTP answer."""
    fields = [{"field": name, "message": text} for name, text in fault.fields.items()]
    body = {"error": {"code": fault.code, "message": fault.message, "fields": fields}}
    return JsonResponse(body, status=fault.status, headers={"Cache-Control": "no-store", **(headers or {})})


def install(api: NinjaAPI) -> None:
    """Give `api` the answers to every exception; what is not in the table is a 500 that says no more than that."""
    for kind, handler in HANDLERS.items():
        api.add_exception_handler(kind, handler)


def _fault(request: HttpRequest, fault: Any) -> HttpResponse:
    return answer(fault)


def _unauthenticated(request: HttpRequest, fault: Any) -> HttpResponse:
    text = "Send an API key as Bearer token, as X-API-Key or as the password of Basic, or sign in at the dashboard."
    return answer(ApiFault(401, "unauthenticated", text), {"WWW-Authenticate": CHALLENGE})


def _bad_input(request: HttpRequest, fault: Any) -> HttpResponse:
    fields: dict[str, str] = {}
    for error in fault.errors:
        fields.setdefault(_place(error["loc"]), str(error["msg"]).removeprefix("Value error, "))
    return answer(ApiFault(422, "invalid", "Some of what was sent cannot be taken.", fields))


def _place(loc: tuple[Any, ...]) -> str:
    """`body, payload, name` → `name`: which part of the request it is in goes without saying."""
    return ".".join(str(step) for step in (loc[2:] if loc[:1] == ("body",) else loc[1:]) or loc)


def _model_fault(request: HttpRequest, fault: Any) -> HttpResponse:
    named = fault.message_dict if hasattr(fault, "error_dict") else {"": fault.messages}
    fields = {name: " ".join(texts) for name, texts in named.items()}
    return answer(ApiFault(422, "invalid", "Some of what was sent cannot be stored.", fields))


def _refused(request: HttpRequest, refusal: Any) -> HttpResponse:
    status, code = next((status, code) for kind, status, code in REFUSALS if isinstance(refusal, kind))
    return answer(ApiFault(status, code, f"{str(refusal)[:1].upper()}{str(refusal)[1:]}."))


def _http(request: HttpRequest, fault: Any) -> HttpResponse:
    return answer(ApiFault(fault.status_code, CODES.get(fault.status_code, "refused"), str(fault)))


def _absent(request: HttpRequest, fault: Any) -> HttpResponse:
    return answer(unknown())


def _too_big(request: HttpRequest, fault: Any) -> HttpResponse:
    return answer(ApiFault(413, "too_large", "The body is larger than the API takes."))


def _throttled(request: HttpRequest, fault: Any) -> HttpResponse:
    text = "Too many attempts. Wait as long as Retry-After says."
    return answer(ApiFault(429, "too_many_attempts", text), {"Retry-After": str(fault.retry_after)})


def _database(request: HttpRequest, fault: Any) -> HttpResponse:
    log.warning("api_database_fault", error=type(fault).__name__)
    text = "The database does not answer. Nothing was changed."
    return answer(ApiFault(503, "storage_unavailable", text), {"Retry-After": "1"})


def _unstorable(request: HttpRequest, fault: Any) -> HttpResponse:
    return answer(ApiFault(422, "invalid", "Something in what was sent cannot be stored as it is."))


def _broken(request: HttpRequest, fault: Any) -> HttpResponse:
    log.error("api_failed", exc_info=fault)
    return answer(ApiFault(500, "internal", "The hub failed. Its log says why."))


HANDLERS: Final[Mapping[type[Exception], Callable[[HttpRequest, Any], HttpResponse]]] = {
    ApiFault: _fault,
    AuthenticationError: _unauthenticated,
    BadInput: _bad_input,
    ValidationError: _model_fault,
    Refused: _refused,
    HttpError: _http,
    Http404: _absent,
    RequestDataTooBig: _too_big,
    Throttled: _throttled,
    DataError: _unstorable,
    DatabaseError: _database,
    Exception: _broken,
}
