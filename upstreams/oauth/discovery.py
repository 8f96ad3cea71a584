"""From an upstream's refusal to its authorization server (MCP authorization: RFC 9728, RFC 8414, OIDC discovery).

The order is the specification's: what `WWW-Authenticate` names, the well-known forms, then 2025-03-26, in which the
upstream's own origin is the authorization server.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    extract_field_from_www_auth,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
    issuers_match,
)
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata
from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url
from mcp.shared.inbound import MCP_METHOD_HEADER, MCP_PROTOCOL_VERSION_HEADER
from pydantic import ValidationError

from mcphub.core.addresses import is_loopback
from upstreams.oauth.errors import Refused, Unavailable
from upstreams.oauth.outgoing import JSON, Outgoing
from upstreams.oauth.types import Challenge, Protected, Server
from upstreams.transports import opening
from upstreams.transports.base import own
from upstreams.transports.endpoint import TAKES_BOTH
from upstreams.transports.envelope import params_for
from upstreams.types import MODERN

ASKING: Final = {**JSON, MCP_PROTOCOL_VERSION_HEADER: MODERN}
MCP_HEADERS: Final = {"accept": TAKES_BOTH, MCP_PROTOCOL_VERSION_HEADER: MODERN}
PROBES: Final = (
    ("tools/list", params_for(own("tools/list"), "modern", 1)),
    ("initialize", opening.initialize({}).params),
)
"""What is asked without credentials, to be refused."""

S256: Final = "S256"


def read_challenge(status: int, header: str) -> Challenge:
    """What a refusal's `WWW-Authenticate` says."""
    answer = httpx2.Response(status, headers={"www-authenticate": header} if header else {})
    return Challenge(
        scope=extract_scope_from_www_auth(answer) or "",
        metadata_url=extract_resource_metadata_from_www_auth(answer) or "",
        error=extract_field_from_www_auth(answer, "error") or "",
    )


async def challenge_of(out: Outgoing, url: str, headers: Mapping[str, str]) -> Challenge:
    """How the upstream refuses who presents nothing. Some let everybody begin, so a list is asked for first."""
    for method, params in PROBES:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        asking = {**headers, **MCP_HEADERS, MCP_METHOD_HEADER: method}
        if method == "initialize":
            asking = {**headers, "accept": MCP_HEADERS["accept"]}
        answer = await out.knock(url, body, asking)
        if answer.status_code in (401, 403):
            return read_challenge(answer.status_code, answer.headers.get("www-authenticate", ""))
    return Challenge()


async def discover(out: Outgoing, url: str, challenge: Challenge, known: Sequence[str] = ()) -> Protected:
    """Who gives tokens for the upstream at `url`. `known` are issuers to prefer where it names several.

    Raises `Refused` for what must not be followed and `Unavailable` for what may pass.
    """
    metadata = await _resource_metadata(out, url, challenge)
    if metadata is None:
        origin = _origin(url)
        server = await _server(out, None, origin, url) or _assumed(origin)
        return Protected(resource_url_from_server_url(url), (), server)
    issuers = [str(each) for each in metadata["authorization_servers"]]
    issuer = next((each for each in issuers if each in known), issuers[0])
    found = await _server(out, issuer, issuer, url)
    if found is None:
        raise Refused(f"The authorization server {issuer} publishes no metadata.")
    scopes = tuple(str(scope) for scope in metadata.get("scopes_supported") or ())
    return Protected(str(metadata["resource"]), scopes, found, tuple(each for each in issuers if each != issuer))


async def _resource_metadata(out: Outgoing, url: str, challenge: Challenge) -> dict[str, Any] | None:
    """RFC 9728. A server that fails says nothing of whether there is metadata, so the older way is not taken."""
    failing = 0
    for place in build_protected_resource_metadata_discovery_urls(challenge.metadata_url or None, url):
        answer = await out.get(_usable(place, url), ASKING)
        failing = answer.status_code if answer.status_code >= 500 or answer.status_code == 429 else failing
        document = _document(answer, ProtectedResourceMetadata)
        if document is None:
            continue
        if not check_resource_allowed(resource_url_from_server_url(url), str(document["resource"])):
            raise Refused(f"The upstream's metadata speaks of another resource: {document['resource']}.")
        return document
    if failing:
        raise Unavailable(f"The upstream's metadata cannot be read now (HTTP {failing}).")
    return None


async def read_server(out: Outgoing, issuer: str, url: str) -> Server:
    """The metadata of an authorization server that is known already. Raises `OAuthFault`."""
    found = await _server(out, issuer, issuer, url)
    if found is None:
        raise Refused(f"The authorization server {issuer} publishes no metadata.")
    return found


async def _server(out: Outgoing, listed: str | None, expected: str, url: str) -> Server | None:
    """RFC 8414, then OIDC discovery; None where nothing is published."""
    for place in build_oauth_authorization_server_metadata_discovery_urls(listed, url):
        answer = await out.get(_usable(place, url), ASKING)
        if answer.status_code >= 500:
            raise Unavailable(f"{urlsplit(place).hostname} fails (HTTP {answer.status_code}).")
        document = _document(answer, OAuthMetadata)
        if document is None:
            continue
        issuer = str(document["issuer"])
        if not issuers_match(issuer, expected):
            raise Refused(f"The metadata of {expected} names another issuer: {issuer}.")
        return _checked(document, url)
    return None


def _document(
    answer: httpx2.Response, shape: type[OAuthMetadata | ProtectedResourceMetadata]
) -> dict[str, Any] | None:
    """The document as it was published, once it has the shape; the shape's own texts are normalised, so unusable."""
    if answer.status_code != 200:
        return None
    try:
        shape.model_validate_json(answer.content)
        document = json.loads(answer.content)
    except (ValidationError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _checked(document: dict[str, Any], url: str) -> Server:
    issuer = str(document["issuer"])
    if S256 not in (document.get("code_challenge_methods_supported") or ()):
        raise Refused(f"{issuer} does not offer PKCE with S256, without which the hub signs in nowhere.")
    return Server(
        issuer=issuer,
        authorization_endpoint=_usable(str(document["authorization_endpoint"]), url),
        token_endpoint=_usable(str(document["token_endpoint"]), url),
        registration_endpoint=_usable(str(document.get("registration_endpoint") or ""), url),
        revocation_endpoint=_usable(str(document.get("revocation_endpoint") or ""), url),
        scopes=_texts(document.get("scopes_supported")),
        auth_methods=_texts(document.get("token_endpoint_auth_methods_supported")),
        takes_documents=document.get("client_id_metadata_document_supported") is True,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _assumed(origin: str) -> Server:
    """2025-03-26: endpoints of a server that publishes nothing."""
    return Server(origin, f"{origin}/authorize", f"{origin}/token", f"{origin}/register", published=False)


def _usable(place: str, url: str) -> str:
    """`place`, if secrets may go there: https, or plain http on this machine or where the upstream itself is plain.

    Raises `Refused`.
    """
    if not place:
        return ""
    parts = urlsplit(place)
    if parts.scheme == "https" and parts.hostname:
        return place
    plain = urlsplit(url).scheme == "http"
    if parts.scheme == "http" and parts.hostname and (plain or is_loopback(parts.hostname)):
        return place
    raise Refused(f"The address “{place[:200]}” is not an https address.")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()
