"""Two orgs with an owner, an operator, a viewer and a member in one, and a stranger in the other."""

from dataclasses import dataclass
from typing import Any

import pytest

from mcphub.accounts import services
from mcphub.accounts.models import Membership, Org, User


@pytest.fixture(autouse=True)
def quick_hashes(settings: Any) -> None:
    """Argon2 is slow by design; which hasher makes a password's hash is no matter of these tests."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@dataclass
class People:
    owner: User
    operator: User
    viewer: User
    member: User
    stranger: User
    hub_admin: User

    def named(self, name: str) -> User:
        found: User = getattr(self, name)
        return found


@pytest.fixture
def org(db: None) -> Org:
    return services.create_org("north", "North")


@pytest.fixture
def other(db: None) -> Org:
    return services.create_org("south", "South")


@pytest.fixture
def people(org: Org, other: Org) -> People:
    made = {}
    for role in ("owner", "operator", "viewer", "member"):
        made[role] = services.create_user(f"{role}@example.org")
        services.add_member(org, made[role], [role])
    made["stranger"] = services.create_user("stranger@example.org")
    services.add_member(other, made["stranger"], ["owner"])
    made["hub_admin"] = services.create_user("admin@example.org", hub_admin=True)
    return People(**made)


def membership(org: Org, user: User) -> Membership:
    return Membership.objects.for_org(org).get(user=user)
