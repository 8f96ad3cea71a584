"""JWTs of issuers that an org trusts, at `/mcp` and the API of a running hub."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.hub import Hub
from tests.harness.raw import MODERN, PROTOCOL, RawClient
from tests.harness.waiting import until
from tests.signin.fake_provider import FakeOpenId

AUDIENCE = "https://hub.example/mcp"
ISSUER = "/api/v1/orgs/default/issuers/okta"


class Tokens:
    """A hub that trusts one issuer, and what a caller with a token sees."""

    def __init__(self, hub: Hub, issuer: FakeOpenId) -> None:
        self.hub = hub
        self.issuer = issuer
        self._api = httpx.Client(base_url=hub.url, headers={"X-API-Key": hub.key}, trust_env=False, timeout=30)

    def put(self, path: str, body: dict[str, Any], status: int = 200) -> None:
        answer = self._api.put(path, json=body)
        assert answer.status_code in (status, 201), answer.text

    def trust(self, **changes: Any) -> None:
        body = {"issuer": self.issuer.issuer, "audiences": [AUDIENCE], "roles": ["viewer"], **changes}
        self.put(ISSUER, body)

    def delete(self, path: str) -> None:
        assert self._api.delete(path).status_code == 204

    def token(self, **claims: Any) -> str:
        return self.issuer.jwt(**{"aud": AUDIENCE, "email": "ann@example.org", **claims})

    def mcp(self, token: str, path: str = "/mcp") -> int:
        """The status of a list with this token."""
        meta = {f"{PROTOCOL}/protocolVersion": MODERN, f"{PROTOCOL}/clientCapabilities": {}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": MODERN,
            "Mcp-Method": "tools/list",
        }
        return httpx.post(
            f"{self.hub.url}{path}", json=body, headers=headers, trust_env=False, timeout=30
        ).status_code

    def me(self, token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{self.hub.url}/api/v1/me", headers=headers, trust_env=False, timeout=30)
        return answer.json() if answer.is_success else answer.status_code


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    with (
        FakeOpenId("nobody") as issuer,
        Hub(
            tmp_path_factory.mktemp("tokens"),
            egress_allow=f"127.0.0.1:{issuer.port}",
            limits="issuer_retry_s=0.5,key_attempts=10000",
        ) as hub,
    ):
        made = Tokens(hub.up(), issuer)
        made.trust()
        yield made


@pytest.mark.slow
@pytest.mark.requirement("S5")
@pytest.mark.requirement("S6")
def test_a_token_opens_mcp_and_the_api_with_the_roles_of_its_claims(tokens: Tokens) -> None:
    mapping = {"claim": "groups", "values": ["ops"], "roles": ["operator"], "sources": ["okta"]}
    tokens.put("/api/v1/orgs/default/attribute-mappings/ops", mapping)
    plain, more = tokens.token(), tokens.token(groups=["ops"], client_id="ci")
    assert [tokens.mcp(each) for each in (plain, more)] == [200, 200]
    assert tokens.mcp(plain, "/mcp/default") == 200
    assert tokens.mcp(plain, "/mcp/elsewhere") == 404
    assert (tokens.me(plain)["roles"], tokens.me(plain)["label"]) == (["viewer"], "ann@example.org (okta)")
    assert (tokens.me(more)["roles"], tokens.me(more)["application"]) == (["operator", "viewer"], "ci")
    assert "manage_upstreams" in tokens.me(more)["orgs"][0]["rights"]


@pytest.mark.slow
@pytest.mark.requirement("S5")
@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://another.example"},
        {"aud": None},
        {"iss": "https://stranger.example"},
        {"iss": None},
        {"sub": None},
        {"exp": None},
        {"exp": 1_000},
        {"nbf": 4_000_000_000},
    ],
)
def test_a_token_for_others_or_of_another_time_opens_nothing(tokens: Tokens, claims: dict[str, Any]) -> None:
    token = tokens.token(**claims)
    assert (tokens.mcp(token), tokens.me(token)) == (401, 401)


@pytest.mark.slow
def test_a_minute_of_clock_difference_is_allowed_and_no_more(tokens: Tokens) -> None:
    now = int(time.time())
    assert tokens.mcp(tokens.token(exp=now - 30)) == 200
    assert tokens.mcp(tokens.token(exp=now - 90)) == 401


@pytest.mark.slow
@pytest.mark.parametrize("forgery", ["none", "HS256", "RS512", "foreign key", "cut", "garbage"])
def test_a_forged_token_opens_nothing_and_asks_nobody(tokens: Tokens, forgery: str) -> None:
    assert tokens.mcp(tokens.token()) == 200
    before = len(tokens.issuer.asked)
    kept = tokens.issuer.sign_with, tokens.issuer.algorithm
    try:
        if forgery == "foreign key":
            tokens.issuer.sign_with = tokens.issuer.new_key("one")[1]
        elif forgery == "HS256":
            tokens.issuer.algorithm, tokens.issuer.sign_with = forgery, "a secret of thirty-two bytes or so"
        elif forgery in ("none", "RS512"):
            tokens.issuer.algorithm = forgery
        token = tokens.token()
    finally:
        tokens.issuer.sign_with, tokens.issuer.algorithm = kept
    token = {"cut": token[:-8], "garbage": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}.get(forgery, token)
    assert tokens.mcp(token) == 401
    assert len(tokens.issuer.asked) == before


@pytest.mark.slow
@pytest.mark.requirement("S5")
def test_new_keys_are_found_once_and_unknown_ones_are_not_chased(tokens: Tokens) -> None:
    assert tokens.mcp(tokens.token()) == 200
    time.sleep(0.6)  # `issuer_retry_s` of this hub, which asks no clock of ours
    tokens.issuer.key = tokens.issuer.new_key("two")
    assert tokens.mcp(tokens.token()) == 200
    asked = tokens.issuer.asked.count("/keys")
    tokens.issuer.key, kept = tokens.issuer.new_key("unheard of"), tokens.issuer.key
    stranger = tokens.token()
    tokens.issuer.key = kept
    assert [tokens.mcp(stranger) for _ in range(5)] == [401] * 5
    assert tokens.issuer.asked.count("/keys") - asked <= 2


@pytest.mark.slow
def test_required_claims_narrow_an_issuer(tokens: Tokens) -> None:
    tokens.trust(required={"azp": ["ours"]})
    until("the change", lambda: tokens.mcp(tokens.token()) == 401)
    assert tokens.mcp(tokens.token(azp="ours")) == 200
    tokens.trust()
    until("the change back", lambda: tokens.mcp(tokens.token()) == 200)


@pytest.mark.slow
@pytest.mark.requirement("S5")
async def test_an_issuer_that_is_taken_away_ends_its_open_streams(tokens: Tokens) -> None:
    token = tokens.token()
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        client = RawClient(http, tokens.hub.mcp_url, token, "handshake")
        await client.connect()
        async with client.news() as stream:
            assert stream.status_code == 200
            tokens.delete(ISSUER)
            async with asyncio.timeout(30):
                async for _ in stream.aiter_raw():
                    pass
    assert tokens.mcp(token) == 401
    tokens.trust()
    until("trust again", lambda: tokens.mcp(token) == 200)


@pytest.mark.slow
def test_metadata_names_an_issuer_only_where_its_org_wants_it(tokens: Tokens) -> None:
    def servers(path: str) -> list[str]:
        where = f"{tokens.hub.url}/.well-known/oauth-protected-resource{path}"
        found: list[str] = httpx.get(where, trust_env=False).json()["authorization_servers"]
        return found

    assert tokens.issuer.issuer not in servers("/mcp/default")
    tokens.trust(advertised=True)
    assert tokens.issuer.issuer in servers("/mcp/default")
    assert tokens.issuer.issuer not in servers("/mcp/elsewhere") + servers("/mcp")
    tokens.trust()
