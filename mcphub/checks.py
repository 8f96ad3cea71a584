"""Start checks: what a hub must not be started with, each with a stable id and its fix.

`manage.py check` runs them; `up`, `serve`, `worker` and `beat` refuse to start while one is an error.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from mcphub.accounts.social.providers import PROVIDERS, missing
from mcphub.core.addresses import issuer_fault
from mcphub.core.env import HubSettings
from mcphub.core.flags import StartOptions

TAG: Final = "mcphub"
METHODS: Final = ("dev", "password", "google", "github", "oidc")
SECRET_CHARS: Final = 32
KEY_CHARS: Final = 16
KNOWN_SECRETS: Final = (
    "changeme", "change-me", "change_me", "change this", "secret", "password", "default", "example",
    "django-insecure", "insecure", "test", "admin", "0123456789", "abcdef", "your-", "replace",
)  # fmt: skip

Check = Callable[[HubSettings, StartOptions], Iterator[CheckMessage]]


def start_faults(hub: HubSettings, start: StartOptions) -> list[CheckMessage]:
    """Everything that speaks against starting with these settings, all at once. Pure."""
    return [message for check in CHECKS for message in check(hub, start)]


@register(TAG)
def _registered(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    return start_faults(settings.HUB, settings.START)


def _sign_in(hub: HubSettings, start: StartOptions) -> Iterator[CheckMessage]:
    if "dev" in hub.sign_in and hub.mode == "cloud":
        yield _error(1, "The development sign-in is switched on in cloud mode.", "Take `dev` out of MCPHUB_SIGN_IN.")
    elif "dev" in hub.sign_in and not hub.loopback:
        yield _error(
            2,
            f"The development sign-in is switched on while the hub listens on {hub.host}.",
            "Take `dev` out of MCPHUB_SIGN_IN, or listen on 127.0.0.1 (--host).",
        )
    for method in sorted(set(hub.sign_in) - set(METHODS)):
        yield _error(3, f"MCPHUB_SIGN_IN names {method!r}.", f"Use some of {', '.join(METHODS)}.")
    for provider in (PROVIDERS[name] for name in hub.sign_in if name in PROVIDERS):
        for name in missing(hub, provider):
            fix = f"Enter what the provider gave you, or take `{provider.name}` out of MCPHUB_SIGN_IN."
            yield _error(4, f"Sign-in by {provider.name} needs {name}.", fix)
    if "oidc" in hub.sign_in and hub.oidc_issuer and (fault := issuer_fault(hub.oidc_issuer)):
        yield _error(16, f"MCPHUB_OIDC_ISSUER {fault}.", "Copy the issuer from the provider's discovery document.")


def _secrets(hub: HubSettings, start: StartOptions) -> Iterator[CheckMessage]:
    make = 'Make one: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
    if fault := _weakness(hub.secret_key):
        yield _error(5, f"MCPHUB_SECRET_KEY is {fault}.", make)
    if not hub.encryption_keys:
        yield _error(
            6, "MCPHUB_ENCRYPTION_KEYS is missing.", f"{make} Keep a copy: what it seals opens with it only."
        )
    for number, key in enumerate(hub.encryption_keys, start=1):
        if fault := _weakness(key):
            yield _error(7, f"Key {number} of MCPHUB_ENCRYPTION_KEYS is {fault}.", make)
    if hub.admin_key and not hub.loopback and len(hub.admin_key) < KEY_CHARS:
        yield _error(
            8,
            f"The owner's key has less than {KEY_CHARS} characters while the hub listens on {hub.host}.",
            "Choose a longer MCPHUB_ADMIN_KEY (--api-key), or leave it out to get a random one.",
        )


def _weakness(secret: str) -> str:
    if not secret:
        return "missing"
    if any(known in secret.lower() for known in KNOWN_SECRETS) and len(set(secret)) < SECRET_CHARS:
        return "a known example"
    if len(secret) < SECRET_CHARS or len(set(secret)) < 8:
        return f"too short or too regular (at least {SECRET_CHARS} random characters)"
    return ""


def _cloud(hub: HubSettings, start: StartOptions) -> Iterator[CheckMessage]:
    if hub.mode != "cloud":
        return
    if not hub.database_url.startswith(("postgresql://", "postgres://")):
        yield _error(
            9, "Cloud mode needs PostgreSQL.", "Set MCPHUB_DATABASE_URL=postgresql://user:password@host/name."
        )
    if not hub.redis_url:
        yield _error(10, "Cloud mode needs Redis.", "Set MCPHUB_REDIS_URL=redis://host:6379/0.")
    if hub.allow_stdio or hub.runner == "subprocess":
        yield _error(
            11,
            "Cloud mode runs commands only where something isolates them, and this version isolates none.",
            "Leave MCPHUB_ALLOW_STDIO and MCPHUB_RUNNER out.",
        )
    if not hub.server_url:
        yield _error(12, "Cloud mode needs the hub's public address.", "Set MCPHUB_SERVER_URL=https://….")


def _runner(hub: HubSettings, start: StartOptions) -> Iterator[CheckMessage]:
    if hub.runner in ("bubblewrap", "e2b"):
        yield _error(
            15,
            f"The runner {hub.runner} is not part of this version, and nothing may run in its place.",
            "Leave MCPHUB_RUNNER out, and MCPHUB_ALLOW_STDIO=false where plain subprocesses will not do.",
        )


def _open_mode(hub: HubSettings, start: StartOptions) -> Iterator[CheckMessage]:
    if start.no_auth and (hub.mode == "cloud" or not hub.loopback):
        yield _error(
            13,
            f"--no-auth lets everybody in who reaches {hub.host}.",
            "Listen on 127.0.0.1 in standalone mode, or leave --no-auth out.",
        )


def _address(hub: HubSettings, start: StartOptions) -> Iterator[CheckMessage]:
    if hub.server_url and not hub.server_url.startswith(("https://", "http://")):
        yield _error(14, "MCPHUB_SERVER_URL is not a URL.", "Write it with its scheme: https://hub.example.")
    elif (path := urlsplit(hub.server_url).path) not in ("", start.script_name):
        yield _error(
            17,
            f"MCPHUB_SERVER_URL ends with {path}, and the command line says {start.script_name}.",
            "Leave the path out of the one or of the other.",
        )
    elif not hub.loopback and not hub.server_url and not hub.allowed_hosts:
        yield Warning(
            f"The hub listens on {hub.host}, but requests by any other name than that are refused.",
            hint="Set MCPHUB_SERVER_URL, or MCPHUB_ALLOWED_HOSTS, to the name that clients use.",
            id=f"{TAG}.W001",
        )


CHECKS: Final[Sequence[Check]] = (_sign_in, _secrets, _cloud, _runner, _open_mode, _address)


def _error(number: int, words: str, fix: str) -> Error:
    return Error(words, hint=fix, id=f"{TAG}.E{number:03d}")
