"""Connections over REST: what the page of connections does, for programs; and for operators everybody's."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.connect.conftest import ALICE, BOB, OWNER, SECOND, Place
from tests.connect.test_accounts import fault, said, whoami
from tests.harness.waiting import until

SECRETS = ("alice-token", "bob-token", "team-token")
NARROW = """
from mcphub.accounts import services
from mcphub.accounts.models import Org, User
org = Org.objects.get(slug="default")
user = User.objects.get(email="{0}")
print(services.create_key(org, "narrowed", user=user, upstreams=["new"]).plain)
"""

pytestmark = pytest.mark.usefixtures("nobody_is_connected")


def api(place: Place, email: str, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response:
    """A request below the org; nothing that it is answered holds a secret."""
    url = f"{place.hub.url}/api/v1/orgs/default/{path}"
    headers = {"X-API-Key": key or place.keys[email]}
    answer = httpx.request(method, url, json=body, headers=headers, trust_env=False, timeout=60)
    assert not any(secret in answer.text for secret in SECRETS), answer.text
    return answer


def states(place: Place, email: str) -> dict[str, str]:
    """How each upstream stands for this person."""
    answer = api(place, email, "GET", "connections")
    assert answer.status_code == 200, answer.text
    return {each["upstream"]: each["state"] for each in answer.json()}


@pytest.mark.requirement("C3", "C7", "X1")
def test_a_person_connects_and_disconnects_their_own_account(place: Place) -> None:
    assert states(place, ALICE) == {"old": "not_connected", "new": "not_connected", "team": "not_connected"}
    made = api(place, ALICE, "PUT", "connections/new", {"key": "alice-token", "account": "Alice's"})
    assert made.status_code == 200, made.text
    assert (made.json()["state"], made.json()["account"]) == ("connected", "Alice's")
    until("Alice's tools", lambda: "new__get_account" in place.tools(ALICE), 30)
    assert said(whoami(place, ALICE, "new")).startswith("alice ")
    assert states(place, BOB)["new"] == "not_connected"
    assert fault(whoami(place, BOB, "new"))["reason"] == "needs_connection"
    again = api(place, ALICE, "PUT", "connections/new", {"key": "bob-token"})
    assert again.status_code == 200
    assert said(whoami(place, ALICE, "new")).startswith("bob ")
    assert api(place, ALICE, "DELETE", "connections/new").status_code == 204
    assert api(place, ALICE, "DELETE", "connections/new").status_code == 404
    assert fault(whoami(place, ALICE, "new"))["reason"] == "needs_connection"


@pytest.mark.requirement("C3", "X1")
@pytest.mark.parametrize(
    ("upstream", "body", "status"),
    [
        ("new", {"key": "nobodys-token"}, 422),
        ("new", {"key": ""}, 422),
        ("new", {"key": "two words"}, 422),
        ("new", {}, 422),
        ("new", {"key": "alice-token", "colour": "red"}, 422),
        ("nothing", {"key": "alice-token"}, 404),
        ("team", {"key": "team-token"}, 403),
    ],
)
def test_what_cannot_be_connected_is_refused_and_nothing_is_kept(
    place: Place, upstream: str, body: dict[str, Any], status: int
) -> None:
    answer = api(place, ALICE, "PUT", f"connections/{upstream}", body)
    assert answer.status_code == status, answer.text
    assert set(states(place, ALICE).values()) == {"not_connected"}


@pytest.mark.requirement("C1", "X1")
def test_the_shared_account_is_taken_over_only_when_that_is_said(place: Place) -> None:
    assert api(place, SECOND, "PUT", "connections/team", {"key": "team-token"}).status_code == 200
    taken = api(place, OWNER, "PUT", "connections/team", {"key": "bob-token"})
    assert taken.status_code == 409
    assert SECOND in taken.text
    over = api(place, OWNER, "PUT", "connections/team", {"key": "bob-token", "take_over": True})
    assert over.status_code == 200, over.text
    assert states(place, ALICE)["team"] == "connected"


@pytest.mark.requirement("C3", "X1")
def test_a_link_is_for_whoever_asked_for_it(place: Place) -> None:
    made = api(place, ALICE, "POST", "connections/old/link")
    assert made.status_code == 200, made.text
    url = made.json()["url"]
    assert url.startswith(place.hub.url)
    with place.browser(ALICE) as alices:
        assert "API key" in alices.get(urlsplit(url).path)
    with place.browser(BOB) as bobs:
        bobs.get(urlsplit(url).path, status=403)


@pytest.mark.requirement("C3", "X1")
def test_operators_see_states_and_take_an_account_away(place: Place) -> None:
    place.connect(ALICE, "old", "alice-token")
    assert api(place, BOB, "GET", "credentials").status_code == 200
    (held,) = api(place, SECOND, "GET", "credentials").json()["items"]
    assert (held["upstream"], held["state"], held["connected_by"]) == ("old", "connected", ALICE)
    assert api(place, BOB, "DELETE", f"credentials/{held['id']}").status_code == 403
    assert api(place, SECOND, "DELETE", f"credentials/{held['id']}").status_code == 204
    assert api(place, SECOND, "DELETE", f"credentials/{held['id']}").status_code == 404
    assert fault(whoami(place, ALICE, "old"))["reason"] == "needs_connection"


@pytest.mark.requirement("C3", "S3", "X1")
def test_a_key_that_is_narrowed_connects_nothing(place: Place) -> None:
    key = place.hub.manage("shell", "--no-imports", "-c", NARROW.format(ALICE)).strip().splitlines()[-1]
    for method, path, body in (
        ("PUT", "connections/new", {"key": "alice-token"}),
        ("POST", "connections/new/link", None),
        ("DELETE", "connections/new", None),
    ):
        assert api(place, ALICE, method, path, body, key=key).status_code == 403
