"""The providers that people can sign in with, and what the operator has to set for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from mcphub.core.env import HubSettings

GOOGLE_ISSUER: Final = "https://accounts.google.com"


@dataclass(frozen=True, slots=True)
class Provider:
    """One way to sign in. `needs` are settings without which it cannot work; `issuer` is "" for one without OIDC."""

    name: str
    label: str
    needs: tuple[str, ...]
    issuer: str = ""

    def client_id(self) -> str:
        """What the provider knows the hub by."""
        return str(getattr(settings.HUB, f"{self.name}_client_id"))

    def client_secret(self) -> str:
        """What the hub proves itself with."""
        return str(getattr(settings.HUB, f"{self.name}_client_secret"))

    def issuer_url(self) -> str:
        """The issuer that identity tokens must name, without a slash at the end."""
        return (self.issuer or (settings.HUB.oidc_issuer if self.name == "oidc" else "")).rstrip("/")


PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType(
    {
        "google": Provider("google", "Google", ("google_client_id", "google_client_secret"), GOOGLE_ISSUER),
        "github": Provider("github", "GitHub", ("github_client_id", "github_client_secret")),
        "oidc": Provider("oidc", "", ("oidc_issuer", "oidc_client_id", "oidc_client_secret")),
    }
)


def offered() -> list[Provider]:
    """The providers that people may use, in the order of `MCPHUB_SIGN_IN`."""
    return [PROVIDERS[name] for name in settings.HUB.sign_in if name in PROVIDERS]


def offered_by_name(name: str) -> Provider | None:
    """The provider with this name, if people may use it."""
    return next((provider for provider in offered() if provider.name == name), None)


def label_of(provider: Provider) -> str:
    """What people know it by: a provider of one's own goes by its host."""
    return provider.label or urlsplit(settings.HUB.oidc_issuer).netloc


def choices() -> list[tuple[str, str]]:
    """Name and label of every provider that people may use, for a page."""
    return [(provider.name, label_of(provider)) for provider in offered()]


def missing(hub: HubSettings, provider: Provider) -> list[str]:
    """The settings that the provider needs and that are not there."""
    return [f"MCPHUB_{name.upper()}" for name in provider.needs if not getattr(hub, name)]
