"""Who the hub is to an authorization server: an operator's client, its own document, or one that it registers."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from asgiref.sync import async_to_sync
from django.conf import settings
from django.urls import reverse
from mcp.client.auth import OAuthRegistrationError
from mcp.client.auth.utils import handle_registration_response
from mcp.shared.auth import OAuthClientInformationFull

from mcphub.accounts.links import absolute, home
from mcphub.core.clock import now
from upstreams.models import OAuthRegistration, Upstream
from upstreams.oauth.errors import NeedsClient, Refused
from upstreams.oauth.outgoing import outgoing
from upstreams.oauth.setup import Setup, client_of, operators_client, setup_of
from upstreams.oauth.types import AuthMethod, Client, Server

NAME: Final = "MCP Hub"
GRANTS: Final = ("authorization_code", "refresh_token")
METHODS: Final[tuple[AuthMethod, ...]] = ("client_secret_basic", "client_secret_post", "none")
"""What the hub can do as a client that it registers itself, the strongest first."""

ENTERED: Final = ("upstream", "domain")
"""Sources of clients that an operator wrote down."""

Origin = OAuthRegistration.Origin


def document_url() -> str:
    """The hub's client id where its own metadata document is taken; "" unless the hub has a public https address."""
    public = urlsplit(settings.HUB.server_url)
    return absolute(reverse("oauth-client-metadata")) if public.scheme == "https" else ""


def document() -> dict[str, Any]:
    """The hub's client ID metadata document (draft-ietf-oauth-client-id-metadata-document)."""
    return {
        "client_id": document_url(),
        "client_uri": home(),
        **_about(absolute(reverse("oauth-callback"))),
        "token_endpoint_auth_method": "none",
    }


def _about(redirect_uri: str) -> dict[str, Any]:
    return {
        "client_name": NAME,
        "redirect_uris": [redirect_uri],
        "grant_types": list(GRANTS),
        "response_types": ["code"],
        "application_type": "web",
    }


def client_for(row: Upstream, setup: Setup, server: Server, redirect_uri: str) -> Client:
    """The hub as a client of `server`; registers it there if it has to. Raises `OAuthFault`."""
    if (entered := operators_client(row, setup, server)) is not None:
        return entered
    own = document_url()
    if own and server.takes_documents and redirect_uri == absolute(reverse("oauth-callback")):
        return Client(own, "none", issuer=server.issuer, source="document")
    known = _registered(row, server).filter(redirect_uri=redirect_uri).first()
    if known is not None and (known.expires_at is None or known.expires_at > now()):
        return client_of(known, server)
    if not server.registration_endpoint:
        raise NeedsClient(
            f"{server.issuer} registers no clients by itself. An operator has to register the hub there, with the "
            f"redirect address {redirect_uri}, and enter the client's id in this upstream's settings."
        )
    return _register(row, setup, server, redirect_uri)


def forget_registration(row: Upstream, issuer: str, client_id: str) -> None:
    """The server knows this registration no more; the next sign-in registers anew."""
    OAuthRegistration.objects.filter(
        org_id=row.org_id, upstream=None, origin=Origin.DYNAMIC, issuer=issuer, client_id=client_id
    ).delete()


def bind(row: Upstream, client: Client) -> OAuthRegistration | None:
    """Remember which authorization server the client was used with, so that it is used with no other; its row."""
    if client.source == "upstream":
        values = {"client_id": client.id, "org_id": row.org_id, "auth_method": client.method}
        return OAuthRegistration.objects.update_or_create(
            upstream=row, issuer=client.issuer, origin=Origin.PREREGISTERED, defaults=values
        )[0]
    found = registration_of(row, client)
    if found is not None and not found.issuer:
        found.issuer = client.issuer
        found.save(update_fields=["issuer"])
    return found


def registration_of(row: Upstream, client: Client) -> OAuthRegistration | None:
    """The stored row of a client of a domain, or of one that the hub registered."""
    if client.source not in ("domain", "registered"):
        return None
    kind = Origin.PREREGISTERED if client.source == "domain" else Origin.DYNAMIC
    rows = OAuthRegistration.objects.filter(org_id=row.org_id, upstream=None, origin=kind, client_id=client.id)
    return rows.filter(issuer__in=("", client.issuer)).order_by("-issuer").first()


def packed(client: Client) -> dict[str, Any]:
    """A client for the sealed part of a row. What an operator entered stays where it was entered."""
    return asdict(replace(client, secret="", private_key="") if client.source in ENTERED else client)


def unpacked(value: Mapping[str, Any]) -> Client:
    """What `packed` made."""
    return Client(**value)


def as_it_is_now(row: Upstream, client: Client, registration: OAuthRegistration | None) -> Client:
    """A kept client with what its operator entered, which may have been changed since. Raises `Refused`."""
    if client.source == "upstream":
        entered = setup_of(row).config
        if entered.get("client_id") != client.id:
            raise Refused("An operator replaced the OAuth client of this upstream. Connect again.")
        return replace(
            client,
            secret=str(entered.get("client_secret") or ""),
            private_key=str(entered.get("private_key") or ""),
        )
    if client.source == "domain":
        if registration is None or registration.client_id != client.id:
            raise Refused("An operator replaced the OAuth client of this upstream's domain. Connect again.")
        secret = registration.secret
        return replace(
            client, secret=str(secret.get("client_secret") or ""), private_key=str(secret.get("private_key") or "")
        )
    return client


def _registered(row: Upstream, server: Server) -> Any:
    return OAuthRegistration.objects.filter(
        org_id=row.org_id, upstream=None, domain="", issuer=server.issuer, origin=Origin.DYNAMIC
    )


def _register(row: Upstream, setup: Setup, server: Server, redirect_uri: str) -> Client:
    """RFC 7591. The server may change what it was asked for; what it answered is what counts."""
    wanted = next((method for method in METHODS if method in server.auth_methods), METHODS[0])
    answered = async_to_sync(_ask)(setup, server, {**_about(redirect_uri), "token_endpoint_auth_method": wanted})
    method = answered.token_endpoint_auth_method or wanted
    if method not in METHODS or (method != "none" and not answered.client_secret):
        raise Refused(f"{server.issuer} registered the hub in a way that it cannot use ({method}).")
    ends = answered.client_secret_expires_at
    _registered(row, server).delete()
    kept = OAuthRegistration(
        org_id=row.org_id,
        issuer=server.issuer,
        client_id=answered.client_id,
        auth_method=method,
        origin=Origin.DYNAMIC,
        redirect_uri=redirect_uri,
        expires_at=datetime.fromtimestamp(ends, UTC) if ends else None,
    )
    kept.secret = {"client_secret": answered.client_secret} if answered.client_secret and method != "none" else {}
    kept.save()
    return client_of(kept, server)


async def _ask(setup: Setup, server: Server, wanted: Mapping[str, Any]) -> OAuthClientInformationFull:
    async with outgoing(setup.allow) as out:
        answer = await out.post_json(server.registration_endpoint, wanted)
    try:
        return await handle_registration_response(answer)
    except OAuthRegistrationError:
        raise NeedsClient(
            f"{server.issuer} did not register the hub (HTTP {answer.status_code}). An operator has to register it "
            f"there, with the redirect address {wanted['redirect_uris'][0]}, and enter the client's id."
        ) from None
