"""Who the API takes a caller for, and what it says to everybody else."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from gateway.runtime import runtime
from mcphub.accounts import services
from mcphub.accounts.models import ApiKey, Org
from tests.api.conftest import Api, People

ME = "/api/v1/me"


@pytest.fixture
def key(org: Org) -> str:
    return services.create_key(org, "robot", roles=["operator"]).plain


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.requirement("X1")
@pytest.mark.parametrize("way", ["bearer", "header", "basic"])
def test_a_key_is_taken_in_every_form(client: Client, key: str, way: str) -> None:
    headers = {
        "bearer": {"Authorization": f"Bearer {key}"},
        "header": {"X-API-Key": key},
        "basic": {"Authorization": basic(key)},
    }
    answer = client.get(ME, headers=headers[way])
    assert answer.status_code == 200
    assert answer.json()["label"] == "robot"
    assert [place["slug"] for place in answer.json()["orgs"]] == ["north"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer mcph_wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Digest x"},
        {"Authorization": "Basic !!!"},
        {"X-API-Key": ""},
    ],
)
def test_without_a_good_key_there_is_one_answer(client: Client, org: Org, headers: dict[str, str]) -> None:
    answer = client.get(ME, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthenticated"
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_bad_key_never_falls_back_to_the_session(client: Client, people: People) -> None:
    client.force_login(people.owner)
    assert client.get(ME).status_code == 200
    assert client.get(ME, headers={"Authorization": "Bearer mcph_wrong"}).status_code == 401


def test_a_change_by_session_needs_its_token(people: People) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.owner)
    path, body = "/api/v1/orgs/north", {"name": "Far North"}
    assert client.get(path).status_code == 200
    refused = client.put(path, body, content_type="application/json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    client.get("/sign-out/")
    token = client.cookies["mcphub_csrf"].value
    assert client.put(path, body, content_type="application/json", headers={"X-CSRFToken": token}).status_code == 200


def test_guessing_is_told_to_wait_and_a_good_key_still_passes(client: Client, key: str) -> None:
    runtime().core.guesses.__init__(runtime().core.guesses._limits)  # type: ignore[misc]
    codes = [
        client.get(ME, headers={"X-API-Key": f"guess {number}"}, REMOTE_ADDR="192.0.2.77").status_code
        for number in range(31)
    ]
    assert (codes[:30], codes[30]) == ([401] * 30, 429)
    assert client.get(ME, headers={"X-API-Key": key}, REMOTE_ADDR="192.0.2.77").status_code == 200


def test_a_revoked_or_ended_key_is_out_at_once(client: Client, key: str) -> None:
    services.revoke_key(ApiKey.objects.get(name="robot"))
    assert client.get(ME, headers={"X-API-Key": key}).status_code == 401


def test_a_key_narrowed_to_an_upstream_administers_nothing(by_key: Callable[..., Api]) -> None:
    narrowed = by_key("owner", upstreams=["time"])
    status, me = narrowed("GET", "/me")
    assert (status, me["orgs"]) == (200, [{"slug": "north", "rights": []}])
    assert narrowed("PUT", "/orgs/north/keys/wider", {"roles": ["owner"]})[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("PATCH", "/orgs/north", 405, "method_not_allowed"),
        ("GET", "/orgs/north/members?limit=0", 422, "invalid"),
        ("GET", "/orgs/north/members?after=%00", 422, "invalid"),
        ("GET", "/orgs/north/members?after=W10", 422, "invalid"),
        ("GET", "/orgs/north/members/a%00b", 422, "invalid"),
    ],
)
def test_every_fault_has_one_shape(
    by_key: Callable[..., Api], method: str, path: str, status: int, code: str
) -> None:
    found, body = by_key("owner")(method, path)
    assert (found, body["error"]["code"]) == (status, code)
    assert body["error"].keys() == {"code", "message", "fields"}


@pytest.mark.parametrize("body", [b"{", b'{"name": "a", "name": "b"}', b'{"name": NaN}', b"[" * 100])
def test_a_body_that_is_no_strict_json_is_refused(by_key: Callable[..., Api], body: bytes) -> None:
    status, answer = by_key("owner")("PUT", "/orgs/north", body)
    assert (status, answer["error"]["code"]) == (400, "bad_request")


def test_the_documentation_asks_nobody_else_for_anything(client: Client) -> None:
    page = client.get("/api/v1/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "//" not in page.replace("</", "").replace("<!--", "")
    schema: dict[str, Any] = client.get("/api/v1/openapi.json").json()
    assert schema["paths"]["/api/v1/orgs/{org}/keys/{name}"].keys() == {"get", "put", "delete"}
