"""The well-known documents: of the hub as authorization server (RFC 8414), and of every endpoint (RFC 9728).

They are made from the path's syntax alone, so they tell nobody what exists; except the issuers of tokens that an org
wants to be named.
"""

from typing import Any, Final

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe
from oauth2_provider.settings import oauth2_settings

from gateway.authserver import places
from gateway.authserver.endpoints import answers
from gateway.edge import paths
from mcphub.accounts.selectors import advertised_issuers

ENDPOINTS: Final = {
    "authorization_endpoint": "oauth-authorize",
    "token_endpoint": "oauth-token",
    "revocation_endpoint": "oauth-revoke",
    "registration_endpoint": "oauth-register",
}


@require_safe
def authorization_server(request: HttpRequest, tail: str = "") -> HttpResponse:
    """RFC 8414; clients that look for OpenID Connect discovery find the same."""
    if places.below(f"/{tail}" if tail else "") not in ("", "/") and f"/{tail}" != _prefix():
        raise Http404
    own = places.issuer(request)
    origin = own.removesuffix(_prefix())
    methods = list(oauth2_settings.OAUTH2_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED)
    document: dict[str, Any] = {
        "issuer": own,
        **{name: origin + reverse(view) for name, view in ENDPOINTS.items()},
        "scopes_supported": list(oauth2_settings.SCOPES),
        "response_types_supported": list(oauth2_settings.OAUTH2_RESPONSE_TYPES_SUPPORTED),
        "response_modes_supported": ["query"],
        "grant_types_supported": list(oauth2_settings.OAUTH2_GRANT_TYPES_SUPPORTED),
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "resource_parameter_supported": True,
    }
    return answers(document)


@require_safe
def protected_resource(request: HttpRequest, tail: str = "") -> HttpResponse:
    """RFC 9728 for the endpoint at `/{tail}`; without one for `/mcp`."""
    path = places.below(f"/{tail}") if tail else places.DEFAULT_PATH
    route = paths.parse(places.DEFAULT_PATH if tail and f"/{tail}" == _prefix() else path)
    if route is None:
        raise Http404
    document = {
        "resource": places.resource_url(request, route.path),
        "authorization_servers": [places.issuer(request), *(advertised_issuers(route.org) if route.org else ())],
        "scopes_supported": ["mcp"],
        "bearer_methods_supported": ["header"],
        "resource_name": "MCP Hub",
    }
    return answers(document)


def _prefix() -> str:
    return str(settings.START.script_name)
