"""Ann owns north and belongs to south; Bob owns south. Ann's browser is signed in."""

from typing import Any

import pytest
from django.test import Client

from gateway.authserver import endpoints
from mcphub.accounts import services
from mcphub.accounts.models import Org, User
from tests.authserver.flow import Flow, browser, register


@pytest.fixture(autouse=True)
def quick_hashes(settings: Any) -> None:
    """Argon2 is slow by design; which hasher makes a hash is no matter of these tests."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def unsuspicious() -> None:
    """Failures of one test do not count against the next."""
    endpoints._guesses.cache_clear()


@pytest.fixture
def north(db: None) -> Org:
    return services.create_org("north", "North")


@pytest.fixture
def south(db: None) -> Org:
    return services.create_org("south", "South")


@pytest.fixture
def ann(north: Org) -> User:
    return member(north, "ann@example.org", "owner")


@pytest.fixture
def bob(south: Org) -> User:
    return member(south, "bob@example.org", "owner")


@pytest.fixture
def anns(ann: User) -> Client:
    return signed_in(ann)


@pytest.fixture
def flow(anns: Client) -> Flow:
    return Flow(anns, register()["client_id"])


def member(org: Org, email: str, role: str) -> User:
    user = User.objects.filter(email=email).first() or services.create_user(email)
    services.add_member(org, user, [role])
    return user


def signed_in(user: User) -> Client:
    made = browser()
    made.force_login(user)
    return made
