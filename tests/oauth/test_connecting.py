"""The way to an authorization server and back: who may go it, in which browser, once, and what is not followed."""

from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from mcphub.accounts.models import Membership, Org, User
from mcphub.core.clock import now
from tests.oauth.conftest import World
from tests.oauth.places import Reply, place
from upstreams.credentials.models import Credential, OAuthRegistration, PendingAuthorization


def sent_to_token_endpoint(world: World) -> list[dict[str, list[str]]]:
    pairs = zip(world.server.asked, world.server.sent, strict=True)
    return [parse_qs(body.decode()) for asked, (_, body) in pairs if asked == "POST /token"]


@pytest.mark.requirement("C2")
def test_a_person_connects_with_pkce_resource_and_the_redirect_that_was_registered(world: World) -> None:
    asked = world.asked()
    assert (asked["client_id"], asked["resource"]) == ("hub", f"{world.at.url}/mcp")
    assert asked["code_challenge_method"] == "S256"
    assert world.back(state=asked["state"], code="the-code").status_code == 302
    (form,) = sent_to_token_endpoint(world)
    assert form["code"] == ["the-code"]
    assert form["redirect_uri"] == [asked["redirect_uri"]]
    assert form["resource"] == [asked["resource"]]
    assert form["code_verifier"]
    row = Credential.objects.get()
    assert (row.holder, row.issuer, row.state) == (world.holder, world.server.url, "connected")
    assert row.secret["access_token"] == "access-1"
    assert "access-1" not in repr(Credential.objects.values_list("secret").get())


@pytest.mark.requirement("C2")
def test_an_answer_can_be_used_once(world: World) -> None:
    state = world.asked()["state"]
    assert world.back(state=state, code="code").status_code == 302
    assert world.back(state=state, code="code").status_code == 400
    assert len(sent_to_token_endpoint(world)) == 1


@pytest.mark.requirement("C2")
def test_an_answer_that_comes_late_is_not_used(world: World) -> None:
    state = world.asked()["state"]
    PendingAuthorization.objects.update(expires_at=now() - timedelta(seconds=1))
    assert world.back(state=state, code="code").status_code == 400
    assert sent_to_token_endpoint(world) == []


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("whose", ["another browser", "another person", "nobody"])
def test_an_answer_is_good_only_for_the_browser_and_person_that_began(world: World, whose: str) -> None:
    state = world.asked()["state"]
    other = Client()
    if whose == "another browser":
        other.force_login(world.alice)
    elif whose == "another person":
        other.cookies = world.browser.cookies
        other.force_login(User.objects.create_user("mallory@example.org"))
    answer = world.back(other, state=state, code="code")
    assert answer.status_code == (302 if whose == "nobody" else 400)
    assert sent_to_token_endpoint(world) == []
    assert not Credential.objects.exists()


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("iss", ["https://evil.example", "{issuer}/", ""])
def test_an_answer_of_another_server_is_neither_used_nor_shown(world: World, iss: str) -> None:
    world.server.server(authorization_response_iss_parameter_supported=True)
    state = world.asked()["state"]
    named = {"iss": iss.format(issuer=world.server.url)} if iss else {}
    answer = world.back(state=state, code="code", error="access_denied", error_description="canary", **named)
    assert answer.status_code == 400
    assert "canary" not in answer.content.decode()
    assert "declined" not in answer.content.decode()
    assert sent_to_token_endpoint(world) == []


@pytest.mark.requirement("C2")
def test_who_declines_is_told_so_in_the_hubs_own_words(world: World) -> None:
    answer = world.back(state=world.asked()["state"], error="access_denied", error_description="<b>canary</b>")
    assert "You declined" in answer.content.decode()
    assert "canary" not in answer.content.decode()


@pytest.mark.requirement("C2")
def test_a_stranger_and_a_colleagues_slot_are_as_good_as_absent(world: World) -> None:
    stranger = User.objects.create_user("stranger@example.org")
    Membership.objects.create(org=Org.objects.create(slug="other", name="Other"), user=stranger, roles=["owner"])
    colleague = User.objects.create_user("bob@example.org")
    Membership.objects.create(org=world.row.org, user=colleague, roles=["operator"])
    for user in (stranger, colleague):
        browser = Client()
        browser.force_login(user)
        assert world.begin(browser).status_code == 404
    assert world.begin(holder="").status_code == 404
    assert Client().get("/connect/callback", {"state": "x"}).status_code == 302
    assert world.browser.get(f"/connect/begin/{world.row.pk}/").status_code == 405


@pytest.mark.requirement("C2")
def test_a_server_that_is_swapped_gets_nothing_until_the_person_agrees(world: World) -> None:
    world.connect()
    with place() as other:
        other.server()
        other.at["POST /register"] = Reply(201, {"client_id": "other", "token_endpoint_auth_method": "none"})
        world.names(other.url)
        page = world.begin()
        assert page.status_code == 409
        assert {world.server.url, other.url} <= set(page.content.decode().replace("<", " ").replace(">", " ").split())
        assert not any(asked.startswith("POST") for asked in other.asked)
        asked = world.asked(issuer=other.url)
        assert asked["client_id"] == "other"
        assert b"access-1" not in b"".join(body for _, body in other.sent)


@pytest.mark.requirement("C4")
def test_an_operators_client_goes_to_no_other_server_than_its_own(world: World) -> None:
    world.row.oauth = {"client_id": "entered", "client_secret": "canary-secret"}
    world.row.save()
    world.connect()
    assert OAuthRegistration.objects.get().issuer == world.server.url
    with place() as other:
        other.server()
        world.names(other.url)
        page = world.begin(issuer=other.url)
        assert page.status_code == 502
        assert "an operator has to enter the new issuer" in page.content.decode()
        assert not any(asked.startswith("POST") for asked in other.asked)


@pytest.mark.requirement("C4")
def test_a_domains_client_serves_every_upstream_there_and_proves_itself_as_the_server_wants(world: World) -> None:
    entered = OAuthRegistration(org=world.row.org, domain="127.0.0.1", client_id="domain")
    entered.secret = {"client_secret": "s"}
    entered.save()
    world.server.server(token_endpoint_auth_methods_supported=["client_secret_post"])
    assert world.asked()["client_id"] == "domain"
    world.connect()
    form = sent_to_token_endpoint(world)[-1]
    assert (form["client_id"], form["client_secret"]) == (["domain"], ["s"])
    assert "POST /register" not in world.server.asked
    assert OAuthRegistration.objects.get().issuer == world.server.url


@pytest.mark.requirement("C2")
def test_where_nobody_is_registered_an_operator_is_asked_in_words(world: World) -> None:
    world.server.server(registration_endpoint=None)
    page = world.begin()
    assert page.status_code == 502
    assert "/connect/callback" in page.content.decode()


@pytest.mark.requirement("C2")
def test_the_hubs_own_document_is_its_client_id_where_that_is_taken(world: World, settings: Settings) -> None:
    assert world.browser.get("/client-metadata.json").status_code == 404
    settings.HUB = settings.HUB.model_copy(update={"server_url": "https://hub.example"})
    world.server.server(client_id_metadata_document_supported=True)
    asked = world.asked()
    document = Client().get("/client-metadata.json").json()
    assert asked["client_id"] == document["client_id"] == "https://hub.example/client-metadata.json"
    assert document["redirect_uris"] == [asked["redirect_uri"]] == ["https://hub.example/connect/callback"]
    assert "POST /register" not in world.server.asked


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd"])
def test_only_web_pages_are_opened(world: World, address: str) -> None:
    world.server.server(authorization_endpoint=address)
    assert world.begin().status_code == 502


@pytest.mark.requirement("C2")
@pytest.mark.requirement("F10")
def test_more_rights_are_asked_for_with_those_that_are_held_and_not_for_ever(world: World) -> None:
    world.server.at["POST /token"].body["scope"] = "read"
    world.connect()
    assert world.asked(scopes="write")["scope"].split() == ["read", "write"]
    assert "granted already" in world.begin(scopes="read").content.decode()
    for _ in range(3):
        world.connect(scopes="write")
    assert "again and again" in world.begin(scopes="write").content.decode()


def test_only_paths_of_the_hub_are_gone_back_to(world: World) -> None:
    state = world.asked(back="https://evil.example/")["state"]
    assert world.back(state=state, code="code")["location"].startswith("/connect/")
