"""The authorization server's pages and endpoints, at the root."""

from django.urls import path

from gateway.authserver import authorize, endpoints, metadata, pages

WELL_KNOWN = ".well-known"

urlpatterns = [
    path("oauth/authorize", authorize.authorize, name="oauth-authorize"),
    path("oauth/token", endpoints.token, name="oauth-token"),
    path("oauth/revoke", endpoints.revoke, name="oauth-revoke"),
    path("oauth/register", endpoints.register, name="oauth-register"),
    path("oauth/applications/", pages.applications, name="applications"),
    path("oauth/applications/<uuid:approval_id>/end/", pages.end_application, name="end-application"),
    path(f"{WELL_KNOWN}/oauth-authorization-server", metadata.authorization_server),
    path(f"{WELL_KNOWN}/oauth-authorization-server/<path:tail>", metadata.authorization_server),
    path(f"{WELL_KNOWN}/openid-configuration", metadata.authorization_server),
    path(f"{WELL_KNOWN}/openid-configuration/<path:tail>", metadata.authorization_server),
    path(f"{WELL_KNOWN}/oauth-protected-resource", metadata.protected_resource),
    path(f"{WELL_KNOWN}/oauth-protected-resource/<path:tail>", metadata.protected_resource),
]
