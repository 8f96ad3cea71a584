"""The address to come back to, and the cookie that binds a sign-in at an authorization server to a browser."""

import secrets
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import get_script_prefix, reverse

from mcphub.accounts.links import absolute

COOKIE: Final = "mcphub_connect"
COOKIE_CHARS: Final = 43


def callback_url(request: HttpRequest) -> str:
    """The redirect address to give an authorization server, as this person's browser reaches the hub."""
    path = reverse("oauth-callback")
    return absolute(path) if settings.HUB.server_url else request.build_absolute_uri(path)


def browser_of(request: HttpRequest) -> str:
    """The secret of this browser; "" when it has none."""
    return request.COOKIES.get(_name(), "")


def bind_browser(request: HttpRequest) -> str:
    """The secret of this browser, a new one if it has none that could be the hub's own."""
    held = browser_of(request)
    return held if len(held) == COOKIE_CHARS else secrets.token_urlsafe(32)


def set_browser(answer: HttpResponse, secret: str) -> None:
    """Let the browser keep the secret for as long as a sign-in may take."""
    answer.set_cookie(
        _name(),
        secret,
        max_age=int(settings.HUB.limits.authorization_s),
        path=get_script_prefix() if not _name().startswith("__Host-") else "/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _name() -> str:
    bare = settings.SESSION_COOKIE_SECURE and get_script_prefix() == "/"
    return f"__Host-{COOKIE}" if bare else COOKIE
