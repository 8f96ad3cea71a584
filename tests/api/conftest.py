"""The people of `tests/accounts`, each with ways to ask the REST API."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from mcphub.accounts import services
from mcphub.accounts.models import Org
from tests.accounts.conftest import People, org, other, people, quick_hashes

__all__ = ["People", "org", "other", "people", "quick_hashes"]


class Api:
    """Asks as one caller; `headers` carry the proof."""

    def __init__(self, client: Client, **headers: str) -> None:
        self._client = client
        self._headers = headers

    def __call__(self, method: str, path: str, data: Any = None, **more: Any) -> tuple[int, Any]:
        """The status and the JSON of the answer."""
        found = self._client.generic(
            method,
            f"/api/v1{path}",
            b"" if data is None else _encoded(data),
            content_type="application/json",
            headers=self._headers,
            **more,
        )
        return found.status_code, found.json() if found.content else None


def _encoded(data: Any) -> bytes:
    import json

    return data if isinstance(data, bytes) else json.dumps(data).encode()


@pytest.fixture
def by_key(org: Org) -> Callable[..., Api]:
    """Somebody who presents a service key with these roles."""

    def use(*roles: str, **narrowed: Any) -> Api:
        made = services.create_key(org, f"key {roles} {narrowed}"[:80], roles=roles, **narrowed)
        return Api(Client(), Authorization=f"Bearer {made.plain}")

    return use


@pytest.fixture
def by_session(people: People) -> Callable[[str], Api]:
    """A person who is signed in at the dashboard; Django's test client leaves the CSRF check out."""

    def use(name: str) -> Api:
        client = Client()
        client.force_login(people.named(name))
        return Api(client)

    return use
