"""An org, and upstreams in it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from mcphub.accounts.models import Membership, Org, User
from mcphub.core.ids import new_uuid
from upstreams.models import Upstream

MakeUpstream = Callable[..., Upstream]
SignIn = Callable[..., Client]


@pytest.fixture
def org(db: None) -> Org:
    return Org.objects.create(slug="acme", name="Acme")


@pytest.fixture
def make_upstream(org: Org) -> Callable[..., Upstream]:
    def make(slug: str = "time", **fields: Any) -> Upstream:
        given = {"org": org, "name": slug, "transport": "http", "url": "https://up.example/mcp", **fields}
        return Upstream.objects.create(slug=slug, **given)

    return make


@pytest.fixture
def sign_in(org: Org) -> SignIn:
    """A signed-in browser of somebody with these roles in the org."""

    def make(*roles: str, hub_admin: bool = False, of: Org | None = None) -> Client:
        user = User.objects.create_user(f"{new_uuid()}@example.org", is_superuser=hub_admin)
        Membership.objects.create(org=of or org, user=user, roles=list(roles))
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def operator(sign_in: SignIn) -> Client:
    return sign_in("operator")


@pytest.fixture
def stranger(sign_in: SignIn) -> Client:
    return sign_in("owner", of=Org.objects.create(slug="other", name="Other"))


@pytest.fixture
def upstream(make_upstream: Callable[..., Upstream]) -> Upstream:
    return make_upstream()


def tool(name: str, **more: Any) -> dict[str, Any]:
    """A tool as an upstream lists it."""
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def version_of(org: Org) -> int:
    """The org's config version as stored now."""
    return Org.objects.get(pk=org.pk).config_version
