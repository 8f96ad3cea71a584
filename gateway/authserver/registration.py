"""Clients that make themselves known: what they say of themselves (RFC 7591), and how many of them there may be."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from oauth2_provider.models import Application

from gateway.authserver import redirects
from gateway.authserver.models import RegistrationMark
from mcphub.core.clock import now
from mcphub.core.keyring import keyring
from mcphub.core.peer import neighbourhood
from mcphub.core.strictjson import BadJson, loads

PURPOSE: Final = "oauth-registration"
METHODS: Final = {
    "none": Application.CLIENT_PUBLIC,
    "client_secret_basic": Application.CLIENT_CONFIDENTIAL,
    "client_secret_post": Application.CLIENT_CONFIDENTIAL,
}
NAME_CHARS: Final = 80


class BadMetadata(Exception):
    """What a client says of itself cannot be taken; `error` is the code of RFC 7591 section 3.2.2."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


class TooManyClients(Exception):
    """No place for one more: `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many registrations")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    """What the hub keeps of a client's own words."""

    name: str
    redirect_uris: tuple[str, ...]
    auth_method: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A new client; `secret` is "" for a public one, and is shown this once."""

    application: Any
    metadata: ClientMetadata
    secret: str

    def __repr__(self) -> str:
        return f"<Registered {self.application.client_id}>"


def parsed(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a registration or a client's document. Raises `BadMetadata`."""
    limit = settings.HUB.limits.client_bytes
    if len(body) > limit:
        raise BadMetadata("invalid_client_metadata", f"more than {limit} bytes")
    try:
        found = loads(body)
    except BadJson as error:
        raise BadMetadata("invalid_client_metadata", f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadMetadata("invalid_client_metadata", "not a JSON object")
    return found


def read(said: Mapping[str, Any], default_method: str = "client_secret_basic") -> ClientMetadata:
    """What a client says of itself, checked. Raises `BadMetadata`."""
    method = said.get("token_endpoint_auth_method", default_method)
    if not isinstance(method, str) or method not in METHODS:
        raise BadMetadata(
            "invalid_client_metadata", f"token_endpoint_auth_method must be one of {', '.join(METHODS)}"
        )
    grants = _texts(said, "grant_types", ["authorization_code"])
    if "authorization_code" not in grants:
        raise BadMetadata("invalid_client_metadata", "grant_types must hold authorization_code")
    if "code" not in _texts(said, "response_types", ["code"]):
        raise BadMetadata("invalid_client_metadata", "response_types must hold code")
    name = said.get("client_name", "")
    if not isinstance(name, str) or not name.isprintable():
        raise BadMetadata("invalid_client_metadata", "client_name must be printable text")
    return ClientMetadata(name.strip()[:NAME_CHARS], _redirects(said), method)


def _redirects(said: Mapping[str, Any]) -> tuple[str, ...]:
    uris = _texts(said, "redirect_uris", [])
    if not uris:
        raise BadMetadata("invalid_redirect_uri", "redirect_uris is missing")
    if len(uris) > settings.HUB.limits.client_redirects:
        raise BadMetadata("invalid_redirect_uri", f"more than {settings.HUB.limits.client_redirects} redirect_uris")
    for uri in uris:
        if fault := redirects.fault(uri):
            raise BadMetadata("invalid_redirect_uri", f"a redirect URI {fault}")
    return tuple(dict.fromkeys(uris))


def _texts(said: Mapping[str, Any], name: str, default: list[str]) -> list[str]:
    found = said.get(name, default)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BadMetadata("invalid_client_metadata", f"{name} must be a list of strings")
    return found


def register(metadata: ClientMetadata, source: str) -> Registered:
    """Make the client known. Raises `TooManyClients`."""
    public = METHODS[metadata.auth_method] == Application.CLIENT_PUBLIC
    secret = "" if public else secrets.token_urlsafe(32)
    with transaction.atomic():
        _take_place(source)
        application = Application.objects.create(
            name=metadata.name,
            redirect_uris=" ".join(metadata.redirect_uris),
            client_type=METHODS[metadata.auth_method],
            authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
            client_secret=secret,
            hash_client_secret=not public,
            registration_source=Application.RegistrationSource.DCR,
        )
    return Registered(application, metadata, secret)


def _take_place(source: str) -> None:
    """Count one registration of this source. Raises `TooManyClients`."""
    limits, at = settings.HUB.limits, now()
    since = at - timedelta(seconds=limits.client_window_s)
    mark = keyring().mac(PURPOSE, neighbourhood(source).encode()).hex()
    recent = RegistrationMark.objects.filter(source=mark, at__gte=since).order_by("at")
    if recent.count() >= limits.source_clients:
        oldest = recent.values_list("at", flat=True)[0]
        raise TooManyClients(int((oldest - since).total_seconds()) + 1)
    if unused().count() >= limits.clients and not forget_oldest(since):
        raise TooManyClients(int(limits.client_window_s))
    RegistrationMark.objects.create(source=mark, at=at)


def unused() -> Any:
    """Clients that registered themselves and that nobody has ever let in."""
    return Application.objects.filter(registration_source=Application.RegistrationSource.DCR, approvals=None)


def forget_oldest(before: Any, most: int = 100) -> int:
    """Make room: drop the oldest unused clients that came before; how many."""
    old = list(unused().filter(created__lt=before).order_by("created").values_list("pk", flat=True)[:most])
    return int(Application.objects.filter(pk__in=old).delete()[0])


def as_document(made: Registered) -> dict[str, Any]:
    """The answer of RFC 7591 section 3.2.1."""
    document: dict[str, Any] = {
        "client_id": made.application.client_id,
        "client_id_issued_at": int(made.application.created.timestamp()),
        "client_name": made.metadata.name,
        "redirect_uris": list(made.metadata.redirect_uris),
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": made.metadata.auth_method,
        "scope": " ".join(settings.OAUTH2_PROVIDER["SCOPES"]),
    }
    if made.secret:
        document |= {"client_secret": made.secret, "client_secret_expires_at": 0}
    return document
