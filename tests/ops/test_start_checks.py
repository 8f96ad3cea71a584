"""What a hub must not be started with (F61), and that the checks keep their ids."""

from typing import Any

import pytest
from django.core.checks import ERROR

from mcphub import checks
from mcphub.core.env import HubSettings
from mcphub.core.flags import StartOptions

PLAIN = StartOptions()
STRONG = "Zq8vN2rT5yLw9pXc3mKd7sHj4bGf6aEu1oRi"
OTHER = "Wm4tB8nQ2kVx7zLp5cYr9dJh3gSf6aEu1oTi"
OIDC = {"sign_in": ("oidc",), "oidc_client_id": "x", "oidc_client_secret": "y"}
GOOD_STANDALONE: dict[str, Any] = {"secret_key": STRONG, "encryption_keys": (OTHER,), "sign_in": ("dev", "password")}
GOOD_CLOUD: dict[str, Any] = {
    **GOOD_STANDALONE,
    "mode": "cloud",
    "host": "0.0.0.0",
    "sign_in": ("password",),
    "server_url": "https://hub.example",
    "database_url": "postgresql://hub@db/hub",
    "redis_url": "redis://redis/0",
}


def faults(values: dict[str, Any], start: StartOptions = PLAIN) -> set[str]:
    found = checks.start_faults(HubSettings.model_validate(values), start)
    return {str(message.id).removeprefix("mcphub.") for message in found if message.level >= ERROR}


def test_good_settings_have_no_faults() -> None:
    assert faults(GOOD_STANDALONE) == set()
    assert faults(GOOD_CLOUD) == set()
    below = {**GOOD_CLOUD, "server_url": "https://hub.example/tools"}
    assert faults(below, StartOptions(root_path="/tools")) == set()


@pytest.mark.requirement("X14")
@pytest.mark.parametrize(
    ("base", "change", "expected"),
    [
        (GOOD_CLOUD, {"sign_in": ("dev",)}, "E001"),
        (GOOD_STANDALONE, {"host": "0.0.0.0"}, "E002"),
        (GOOD_STANDALONE, {"host": "192.168.1.4"}, "E002"),
        (GOOD_STANDALONE, {"sign_in": ("passwort",)}, "E003"),
        (GOOD_CLOUD, {"sign_in": ("google",)}, "E004"),
        (GOOD_CLOUD, {"sign_in": ("github",), "github_client_id": "x"}, "E004"),
        (GOOD_CLOUD, {"sign_in": ("oidc",), "oidc_client_id": "x", "oidc_client_secret": "y"}, "E004"),
        (GOOD_CLOUD, {**OIDC, "oidc_issuer": "http://login.example.org"}, "E016"),
        (GOOD_CLOUD, {**OIDC, "oidc_issuer": "login.example.org"}, "E016"),
        (GOOD_CLOUD, {**OIDC, "oidc_issuer": "https://["}, "E016"),
        (GOOD_CLOUD, {**OIDC, "oidc_issuer": "https://login.example.org/?x=1"}, "E016"),
        (GOOD_CLOUD, {"server_url": "https://hub.example/tools"}, "E017"),
        (GOOD_CLOUD, {"secret_key": ""}, "E005"),
        (GOOD_CLOUD, {"secret_key": "changeme"}, "E005"),
        (GOOD_CLOUD, {"secret_key": "django-insecure-0123456789-0123456789-0123456789"}, "E005"),
        (GOOD_CLOUD, {"secret_key": "a" * 64}, "E005"),
        (GOOD_CLOUD, {"encryption_keys": ()}, "E006"),
        (GOOD_CLOUD, {"encryption_keys": (OTHER, "secret")}, "E007"),
        (GOOD_CLOUD, {"admin_key": "short"}, "E008"),
        (GOOD_CLOUD, {"database_url": ""}, "E009"),
        (GOOD_CLOUD, {"database_url": "sqlite:////data/hub.sqlite3"}, "E009"),
        (GOOD_CLOUD, {"redis_url": ""}, "E010"),
        (GOOD_CLOUD, {"runner": "subprocess"}, "E011"),
        (GOOD_CLOUD, {"allow_stdio": True}, "E011"),
        (GOOD_STANDALONE, {"runner": "bubblewrap"}, "E015"),
        (GOOD_STANDALONE, {"runner": "e2b"}, "E015"),
        (GOOD_CLOUD, {"server_url": ""}, "E012"),
        (GOOD_STANDALONE, {"server_url": "hub.example"}, "E014"),
    ],
)
def test_bad_start_is_refused(base: dict[str, Any], change: dict[str, Any], expected: str) -> None:
    assert faults({**base, **change}) == {expected}


def test_open_mode_stays_on_this_machine() -> None:
    start = StartOptions(no_auth=True)
    assert faults(GOOD_STANDALONE, start) == set()
    assert faults({**GOOD_STANDALONE, "host": "0.0.0.0", "sign_in": ("password",)}, start) == {"E013"}
    assert faults(GOOD_CLOUD, start) == {"E013"}


def test_all_faults_come_at_once_each_with_its_fix() -> None:
    hub = HubSettings.model_validate({"mode": "cloud", "sign_in": ("dev",), "runner": "subprocess"})
    found = checks.start_faults(hub, StartOptions())
    assert len(found) >= 7
    assert all(message.hint for message in found)


def test_standalone_with_real_sign_in_may_be_public() -> None:
    assert faults({**GOOD_STANDALONE, "host": "0.0.0.0", "sign_in": ("password",)}) == set()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.9.1"])
def test_forms_of_loopback(host: str) -> None:
    assert faults({**GOOD_STANDALONE, "host": host}) == set()
