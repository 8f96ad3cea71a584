"""From a refusal to the authorization server: the order of the places, and what is not followed."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.oauth.places import Place, Reply, place
from upstreams.oauth.discovery import challenge_of, discover, read_challenge
from upstreams.oauth.errors import OAuthFault, Refused, Unavailable
from upstreams.oauth.outgoing import outgoing
from upstreams.oauth.types import Challenge, Protected

PRM = "/.well-known/oauth-protected-resource"
AS = "/.well-known/oauth-authorization-server"
OIDC = "/.well-known/openid-configuration"


@pytest.fixture
def upstream() -> Iterator[Place]:
    with place() as here:
        yield here


@pytest.fixture
def server() -> Iterator[Place]:
    with place() as here:
        yield here


def found(url: str, challenge: Challenge | None = None, known: tuple[str, ...] = ()) -> Protected:
    async def look() -> Protected:
        async with outgoing(("127.0.0.1",)) as out:
            return await discover(out, url, challenge or Challenge(), known)

    return asyncio.run(look())


def gets(*paths: str) -> list[str]:
    return [f"GET {path}" for path in paths]


Setting = Callable[[Place, Place], Challenge | None]


def named_in_challenge(upstream: Place, server: Place) -> Challenge:
    upstream.document("/elsewhere", resource=f"{upstream.url}/a/mcp", authorization_servers=[server.url])
    server.server()
    return Challenge(metadata_url=f"{upstream.url}/elsewhere")


def below_the_path(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/a/mcp", resource=f"{upstream.url}/a/mcp", authorization_servers=[server.url])
    server.server(OIDC)


def at_the_root(upstream: Place, server: Place) -> None:
    upstream.document(PRM, resource=upstream.url, authorization_servers=[server.url])
    server.server()


def issuer_with_a_path(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/a/mcp", resource=f"{upstream.url}/a/mcp", authorization_servers=[f"{server.url}/t/1"])
    server.server(f"{AS}/t/1", base="/t/1")


def openid_inserted(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/a/mcp", resource=f"{upstream.url}/a/mcp", authorization_servers=[f"{server.url}/t/1"])
    server.server(f"{OIDC}/t/1", base="/t/1")


def openid_appended(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/a/mcp", resource=f"{upstream.url}/a/mcp", authorization_servers=[f"{server.url}/t/1"])
    server.server(f"/t/1{OIDC}", base="/t/1")


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(
    ("setting", "at_upstream", "at_server"),
    [
        (named_in_challenge, ["/elsewhere"], [AS]),
        (below_the_path, [f"{PRM}/a/mcp"], [AS, OIDC]),
        (at_the_root, [f"{PRM}/a/mcp", PRM], [AS]),
        (issuer_with_a_path, [f"{PRM}/a/mcp"], [f"{AS}/t/1"]),
        (openid_inserted, [f"{PRM}/a/mcp"], [f"{AS}/t/1", f"{OIDC}/t/1"]),
        (openid_appended, [f"{PRM}/a/mcp"], [f"{AS}/t/1", f"{OIDC}/t/1", f"/t/1{OIDC}"]),
    ],
)
def test_places_are_asked_in_the_order_of_the_specification(
    upstream: Place, server: Place, setting: Setting, at_upstream: list[str], at_server: list[str]
) -> None:
    challenge = setting(upstream, server)
    protected = found(f"{upstream.url}/a/mcp", challenge)
    assert (upstream.asked, server.asked) == (gets(*at_upstream), gets(*at_server))
    assert protected.server.issuer.startswith(server.url)
    assert protected.server.token_endpoint == f"{protected.server.issuer}/token"
    assert protected.resource in (upstream.url, f"{upstream.url}/a/mcp")


@pytest.mark.requirement("C2")
def test_an_upstream_of_2025_03_26_is_its_own_authorization_server(upstream: Place) -> None:
    upstream.server(issuer=f"{upstream.url}/")
    protected = found(f"{upstream.url}/mcp")
    assert upstream.asked == gets(f"{PRM}/mcp", PRM, AS)
    assert (protected.server.published, protected.resource) == (True, f"{upstream.url}/mcp")


@pytest.mark.requirement("C2")
def test_one_that_publishes_nothing_has_the_endpoints_that_2025_03_26_assumes(upstream: Place) -> None:
    server = found(f"{upstream.url}/mcp").server
    assert (server.authorization_endpoint, server.token_endpoint, server.registration_endpoint) == (
        f"{upstream.url}/authorize",
        f"{upstream.url}/token",
        f"{upstream.url}/register",
    )


@pytest.mark.requirement("C2")
def test_texts_are_kept_as_they_were_published(upstream: Place, server: Place) -> None:
    upstream.document(
        f"{PRM}/mcp", resource=upstream.url, authorization_servers=[server.url], scopes_supported=["b", "a"]
    )
    server.server()
    protected = found(f"{upstream.url}/mcp")
    assert (protected.resource, protected.server.issuer, protected.scopes) == (upstream.url, server.url, ("b", "a"))


@pytest.mark.requirement("C2")
def test_of_several_servers_the_one_with_the_operators_client_is_taken(upstream: Place, server: Place) -> None:
    listed = [f"{upstream.url}/first", server.url]
    upstream.document(f"{PRM}/mcp", resource=f"{upstream.url}/mcp", authorization_servers=listed)
    server.server()
    assert found(f"{upstream.url}/mcp", known=(server.url,)).server.issuer == server.url


def another_resource(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/mcp", resource="https://elsewhere.example/mcp", authorization_servers=[server.url])
    server.server()


def another_issuer(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/mcp", resource=f"{upstream.url}/mcp", authorization_servers=[server.url])
    server.server(issuer="https://attacker.example")


def no_pkce(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/mcp", resource=f"{upstream.url}/mcp", authorization_servers=[server.url])
    server.server(code_challenge_methods_supported=None)


def plain_pkce(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/mcp", resource=f"{upstream.url}/mcp", authorization_servers=[server.url])
    server.server(code_challenge_methods_supported=["plain"])


def unpublished_server(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/mcp", resource=f"{upstream.url}/mcp", authorization_servers=[server.url])


def script_address(upstream: Place, server: Place) -> None:
    upstream.document(f"{PRM}/mcp", resource=f"{upstream.url}/mcp", authorization_servers=[server.url])
    server.server(token_endpoint="ftp://127.0.0.1/token")


def redirected_away(upstream: Place, server: Place) -> None:
    there = {"location": f"{server.url}{PRM}"}
    upstream.at[f"GET {PRM}/mcp"] = Reply(302, headers=there)
    server.document(PRM, resource=f"{upstream.url}/mcp", authorization_servers=[server.url])


def metadata_service(upstream: Place, server: Place) -> Challenge:
    return Challenge(metadata_url="http://169.254.169.254/latest/meta-data/")


def oversized(upstream: Place, server: Place) -> None:
    upstream.at[f"GET {PRM}/mcp"] = Reply(body=b" " * 300_000)


@pytest.mark.requirement("C2")
@pytest.mark.requirement("F13")
@pytest.mark.parametrize(
    "setting",
    [
        another_resource,
        another_issuer,
        no_pkce,
        plain_pkce,
        unpublished_server,
        script_address,
        redirected_away,
        metadata_service,
        oversized,
    ],
)
def test_what_must_not_be_followed_is_not(upstream: Place, server: Place, setting: Setting) -> None:
    challenge = setting(upstream, server)
    with pytest.raises(Refused):
        found(f"{upstream.url}/mcp", challenge)
    assert not any(asked.startswith("POST") for asked in server.asked)


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_upstream_that_fails_is_not_taken_for_an_older_one(upstream: Place, status: int) -> None:
    upstream.at[f"GET {PRM}/mcp"] = Reply(status)
    with pytest.raises(Unavailable):
        found(f"{upstream.url}/mcp")


@pytest.mark.requirement("U21")
def test_a_private_place_is_not_asked_without_an_operators_word(upstream: Place) -> None:
    async def look() -> Protected:
        async with outgoing(()) as out:
            return await discover(out, f"{upstream.url}/mcp", Challenge())

    with pytest.raises(OAuthFault, match="allow"):
        asyncio.run(look())
    assert upstream.asked == []


def test_a_challenge_says_scope_metadata_and_error() -> None:
    header = 'Bearer error="insufficient_scope", scope="a b", resource_metadata="https://x.example/m"'
    assert read_challenge(403, header) == Challenge("a b", "https://x.example/m", "insufficient_scope")
    assert read_challenge(401, "") == Challenge()


@pytest.mark.requirement("C2")
def test_an_upstream_that_lets_anybody_begin_is_asked_for_a_list_first(upstream: Place) -> None:
    upstream.at["POST /mcp"] = Reply(401, headers={"www-authenticate": 'Bearer scope="notes"'})

    async def knock() -> Challenge:
        async with outgoing(("127.0.0.1",)) as out:
            return await challenge_of(out, f"{upstream.url}/mcp", {"x-tenant": "t"})

    assert asyncio.run(knock()).scope == "notes"
    (headers, body), *others = upstream.sent
    assert not others
    assert b'"tools/list"' in body
    assert headers["x-tenant"] == "t"
    assert "authorization" not in {name.lower() for name in headers}
