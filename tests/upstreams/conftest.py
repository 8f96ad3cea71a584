"""An org, and upstreams in it."""

from collections.abc import Callable
from typing import Any

import pytest

from mcphub.accounts.models import Org
from upstreams.models import Upstream


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
def upstream(make_upstream: Callable[..., Upstream]) -> Upstream:
    return make_upstream()


def tool(name: str, **more: Any) -> dict[str, Any]:
    """A tool as an upstream lists it."""
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def version_of(org: Org) -> int:
    """The org's config version as stored now."""
    return Org.objects.get(pk=org.pk).config_version
