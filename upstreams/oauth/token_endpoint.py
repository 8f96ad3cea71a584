"""Asking a token endpoint: one function a grant, how a client proves itself, and what an error means."""

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import httpx2
import msgspec
from mcp.client.auth.extensions.client_credentials import SignedJWTParameters
from mcp.shared.auth import OAuthToken
from pydantic import ValidationError

from mcphub.core.clock import now
from upstreams.oauth.errors import ClientRejected, OAuthFault, Refused, Revoked, Unavailable
from upstreams.oauth.outgoing import Outgoing
from upstreams.oauth.types import Client, Tokens

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_S: Final = 120
MEANING: Final[Mapping[str, type[OAuthFault]]] = {
    "invalid_grant": Revoked,
    "invalid_client": ClientRejected,
    "unauthorized_client": ClientRejected,
    "invalid_scope": Refused,
    "invalid_target": Refused,
    "unsupported_grant_type": Refused,
    "invalid_request": Refused,
    "access_denied": Refused,
}
"""Error code of RFC 6749, 5.2 and RFC 8707 → the family; whatever is not here may pass."""


class Gone(Unavailable):
    """There is no token endpoint at this address any more."""


GONE: Final = frozenset({404, 405, 410})
LONGEST: Final = timedelta(days=3650)


async def exchange(
    out: Outgoing, endpoint: str, client: Client, *, code: str, verifier: str, redirect_uri: str, resource: str
) -> Tokens:
    """The tokens for an authorization code. Raises `OAuthFault`."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        "resource": resource,
    }
    return await _ask(out, endpoint, client, form)


async def refresh(out: Outgoing, endpoint: str, client: Client, *, token: str, resource: str) -> Tokens:
    """New tokens for a refresh token; without a new refresh token the old one stays good. Raises `OAuthFault`."""
    form = {"grant_type": "refresh_token", "refresh_token": token, "resource": resource}
    return await _ask(out, endpoint, client, form)


async def client_credentials(out: Outgoing, endpoint: str, client: Client, *, scope: str, resource: str) -> Tokens:
    """A token for the hub itself. Raises `OAuthFault`."""
    return await _ask(
        out, endpoint, client, {"grant_type": "client_credentials", "scope": scope, "resource": resource}
    )


async def revoke(out: Outgoing, endpoint: str, client: Client, *, token: str, kind: str) -> None:
    """Tell the server that a token is wanted no more (RFC 7009); what it answers changes nothing."""
    proof, headers = await _proof(client)
    await out.post_form(endpoint, {"token": token, "token_type_hint": kind, **proof}, headers)


async def _ask(out: Outgoing, endpoint: str, client: Client, form: Mapping[str, str]) -> Tokens:
    proof, headers = await _proof(client)
    filled = {name: value for name, value in {**form, **proof}.items() if value}
    answer = await out.post_form(endpoint, filled, headers)
    if answer.status_code in (200, 201):
        return _tokens(answer, form.get("scope", ""))
    raise _fault(answer)


async def _proof(client: Client) -> tuple[dict[str, str], dict[str, str]]:
    """What the client adds to form and headers to show who it is (RFC 6749, 2.3; RFC 7523, 2.2)."""
    if client.method == "client_secret_basic":
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
        return {}, {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    if client.method == "client_secret_post":
        return {"client_id": client.id, "client_secret": client.secret}, {}
    if client.method == "private_key_jwt":
        return {"client_assertion_type": ASSERTION, "client_assertion": await _assertion(client)}, {}
    return {"client_id": client.id}, {}


async def _assertion(client: Client) -> str:
    """Signed for the issuer alone, so that it is worth nothing elsewhere."""
    signing = SignedJWTParameters(
        issuer=client.id,
        subject=client.id,
        signing_key=client.private_key,
        signing_algorithm=client.algorithm,
        lifetime_seconds=ASSERTION_S,
    )
    try:
        return await signing.create_assertion_provider()(client.issuer)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise Refused("The private key of the OAuth client does not fit its algorithm.") from error


def _tokens(answer: httpx2.Response, asked: str) -> Tokens:
    try:
        found = OAuthToken.model_validate_json(answer.content)
    except ValidationError:
        raise Unavailable("The authorization server answered with no token.") from None
    if not found.access_token or not found.access_token.isascii() or not found.access_token.isprintable():
        raise Unavailable("The authorization server answered with a token that cannot be sent.")
    ends = None if found.expires_in is None else now() + min(timedelta(seconds=max(0, found.expires_in)), LONGEST)
    return Tokens(found.access_token, found.refresh_token or "", ends, asked if found.scope is None else found.scope)


def _fault(answer: httpx2.Response) -> OAuthFault:
    code = _code(answer)
    if answer.status_code >= 500 or answer.status_code == 429:
        return Unavailable(f"The authorization server fails (HTTP {answer.status_code}).")
    if answer.status_code == 401 and code not in MEANING:
        return ClientRejected("The authorization server does not accept the hub as this client (HTTP 401).")
    kind = MEANING.get(code)
    if kind is None and answer.status_code in GONE:
        return Gone(f"The authorization server has no token endpoint any more (HTTP {answer.status_code}).")
    if kind is None:
        return Unavailable(f"The authorization server refused without a known reason (HTTP {answer.status_code}).")
    return kind(f"The authorization server refused: {code}.")


class _Error(msgspec.Struct):
    error: Any = None


def _code(answer: httpx2.Response) -> str:
    try:
        found = msgspec.json.decode(answer.content, type=_Error).error
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""
