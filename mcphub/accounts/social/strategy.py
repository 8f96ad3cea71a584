"""How social-core meets the hub: its settings, the browser's session, an identity where Django wants a user."""

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from social_django.models import DjangoStorage
from social_django.strategy import DjangoStrategy

from mcphub.accounts.social.backends import BACKENDS
from mcphub.accounts.social.identity import Identity
from mcphub.accounts.social.providers import PROVIDERS, Provider
from mcphub.core.env import origin_of

SETTINGS: Final = {"KEY": Provider.client_id, "SECRET": Provider.client_secret}


class HubStrategy(DjangoStrategy):
    """Answers social-core's questions for settings, and ends where it would look for an account."""

    def setting(self, name: str, default: Any = None, backend: Any = None) -> Any:
        """Client id and secret are the hub's settings; everything else is as its class says."""
        known = SETTINGS.get(name)
        return known(PROVIDERS[backend.name]) if known and backend else default

    def authenticate(self, backend: Any, *args: Any, **kwargs: Any) -> Any:
        """The identity: which account it belongs to is the hub's own matter."""
        return backend.identity(kwargs["response"])


def backend_for(request: HttpRequest, provider: Provider) -> Any:
    """social-core's backend for one request."""
    return BACKENDS[provider.name](HubStrategy(DjangoStorage, request), redirect_uri=redirect_uri(request, provider))


def redirect_uri(request: HttpRequest, provider: Provider) -> str:
    """Where the provider sends people back to: at the hub's public address, else at the one that the request used."""
    path = reverse("sign-in-complete", args=[provider.name])
    public = origin_of(settings.HUB.server_url)
    return f"{public}{path}" if public else request.build_absolute_uri(path)


def identify(request: HttpRequest, provider: Provider) -> Identity:
    """Who comes back from the provider. Raises social-core's `SocialAuthBaseException`."""
    found: Identity = backend_for(request, provider).complete()
    return found
