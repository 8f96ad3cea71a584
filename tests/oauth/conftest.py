"""An upstream and its authorization server as two little webs, and people of the org at the hub's pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from mcphub.accounts.models import Membership, Org, User
from tests.oauth.places import Place, Reply, place
from upstreams.models import Upstream

PRM = "/.well-known/oauth-protected-resource/mcp"


@dataclass
class World:
    """`at` is the upstream, `server` its authorization server, `row` what the hub knows of it."""

    at: Place
    server: Place
    row: Upstream
    alice: User
    browser: Client

    @property
    def holder(self) -> str:
        """Whose credential Alice connects."""
        return f"user:{self.alice.pk}"

    def names(self, issuer: str) -> None:
        """Let the upstream name this authorization server."""
        self.at.document(PRM, resource=f"{self.at.url}/mcp", authorization_servers=[issuer])

    def begin(self, browser: Client | None = None, **fields: str) -> Any:
        """Press the button."""
        path = f"/connect/begin/{self.row.pk}/"
        return (browser or self.browser).post(path, {"holder": self.holder, **fields})

    def asked(self, **fields: str) -> dict[str, str]:
        """The parameters with which the browser is sent to the authorization server."""
        answer = self.begin(**fields)
        assert answer.status_code == 302, answer.content.decode()
        return {name: values[0] for name, values in parse_qs(urlsplit(answer["location"]).query).items()}

    def back(self, browser: Client | None = None, **answer: str) -> Any:
        """Come back from the authorization server with this answer."""
        return (browser or self.browser).get("/connect/callback", answer)

    def connect(self, **fields: str) -> None:
        """The whole way."""
        assert self.back(state=self.asked(**fields)["state"], code="code").status_code == 302


@pytest.fixture
def world(transactional_db: None, settings: Settings) -> Iterator[World]:
    settings.HUB = settings.HUB.model_copy(update={"egress_allow": ("127.0.0.1",)})
    with place() as at, place() as server:
        org = Org.objects.create(slug="acme", name="Acme")
        alice = User.objects.create_user("alice@example.org")
        Membership.objects.create(org=org, user=alice, roles=["operator"])
        row = Upstream.objects.create(
            org=org,
            slug="notes",
            name="Notes",
            transport="http",
            url=f"{at.url}/mcp",
            credential_mode="per-user",
            credential_kind="oauth",
        )
        browser = Client()
        browser.force_login(alice)
        at.at["POST /mcp"] = Reply(401)
        server.server(authorization_response_iss_parameter_supported=None)
        server.at["POST /register"] = Reply(201, {"client_id": "hub", "token_endpoint_auth_method": "none"})
        server.at["POST /token"] = Reply(body=tokens())
        made = World(at, server, row, alice, browser)
        made.names(server.url)
        yield made


def tokens(number: int = 1, **changes: Any) -> dict[str, Any]:
    """What a token endpoint gives."""
    return {
        "access_token": f"access-{number}",
        "refresh_token": f"refresh-{number}",
        "token_type": "bearer",
        "expires_in": 3600,
        **changes,
    }
