"""What ends at one process is over at the other within five seconds: tokens, keys, memberships, orgs (F37, F40)."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub
from tests.harness.raw import ACCEPT, HANDSHAKE
from tests.scale.conftest import Pair

ENDED_S: Final = 5
CALLBACK: Final = "http://127.0.0.1:9/callback"
CLIENT: Final = "mcphub-cli"
VERIFIER: Final = "v" * 43
CHALLENGE: Final = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"
PERSON: Final = """
import json
from mcphub.accounts import services
from mcphub.accounts.models import Org
from mcphub.accounts.roles import OWNER
slug = "{slug}"
org = Org.objects.filter(slug=slug).first() or services.create_org(slug)
user = services.create_user("{email}")
services.add_member(org, user, ["owner"])
services.add_member(org, services.create_user("beside-{email}"), ["owner"])
print(json.dumps({{"key": services.create_key(org, "of {email}", user=user).plain}}))
"""


@dataclass(frozen=True)
class Person:
    """Somebody of an org of their own, and what opens it for them."""

    slug: str
    email: str
    bearer: str
    refresh: str = ""

    @property
    def path(self) -> str:
        return f"/mcp/{self.slug}"


def person(hub: Hub, name: str) -> Person:
    """A person with a key."""
    email = f"{name}@example.org"
    made = json.loads(hub.manage("shell", "--no-imports", "-c", PERSON.format(slug=name, email=email)))
    return Person(name, email, made["key"])


def with_token(hub: Hub, one: Person) -> Person:
    """The same person with the tokens of a client that they let in."""
    asked = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": CALLBACK,
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "resource": f"{hub.url}{one.path}",
    }
    with Browser(hub.url) as browser:
        browser.sign_in(one.email)
        back = browser.submit(
            f"/oauth/authorize?{urlencode(asked)}", "consent", to="/oauth/authorize", answer="allow"
        )
    fields = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(back).query)["code"][0],
        "redirect_uri": CALLBACK,
        "client_id": CLIENT,
        "code_verifier": VERIFIER,
    }
    tokens = post(hub, "token", **fields).json()
    return Person(one.slug, one.email, tokens["access_token"], tokens["refresh_token"])


def post(hub: Hub, endpoint: str, **fields: str) -> httpx.Response:
    answer = httpx.post(f"{hub.url}/oauth/{endpoint}", data=fields, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer


def revoke_token(hub: Hub, one: Person) -> None:
    post(hub, "revoke", token=one.refresh, client_id=CLIENT)


def end_application(hub: Hub, one: Person) -> None:
    with Browser(hub.url) as browser:
        browser.sign_in(one.email)
        id = browser.get("/oauth/applications/").partition('id="end-')[2].partition('"')[0]
        assert browser.post(f"/oauth/applications/{id}/end/").status_code == 302


def revoke_key(hub: Hub, one: Person) -> None:
    service(hub, f'services.revoke_key(ApiKey.objects.get(name="of {one.email}"))')


def remove_member(hub: Hub, one: Person) -> None:
    service(hub, f'services.remove_member(Membership.objects.get(user__email="{one.email}"))')


def service(hub: Hub, call: str) -> None:
    """Call a service of accounts in a process beside the hub's."""
    names = "from mcphub.accounts import services\nfrom mcphub.accounts.models import ApiKey, Membership"
    hub.manage("shell", "--no-imports", "-c", f"{names}\n{call}")


def delete_org(hub: Hub, one: Person) -> None:
    with Browser(hub.url) as browser:
        browser.sign_in(one.email)
        page = f"/org/{one.slug}/delete/"
        browser.get(page)
        assert browser.post(page, typed=one.slug).status_code == 302


End = Callable[[Hub, Person], None]
KEY_ENDS: Final[tuple[End, ...]] = (revoke_key, remove_member)
TOKEN_ENDS: Final[tuple[End, ...]] = (revoke_token, end_application, remove_member, delete_org)


def headers(one: Person, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {one.bearer}", "Accept": ACCEPT, **more}


def asked(hub: Hub, one: Person, method: str, params: Any, **more: str) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx.post(f"{hub.url}{one.path}", json=body, headers=headers(one, **more), timeout=20, trust_env=False)


@pytest.mark.requirement("T4", "S3", "S1")
@pytest.mark.parametrize(
    ("end", "bearer"),
    [*((end, "key") for end in KEY_ENDS), *((end, "token") for end in TOKEN_ENDS)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_ends_at_one_process_is_over_at_the_other(pair: Pair, end: End, bearer: str) -> None:
    here, there = pair.hubs
    one = person(here, f"{bearer}-{end.__name__}".replace("_", "-"))
    if bearer == "token":
        one = with_token(here, one)
    hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    greeted = asked(there, one, "initialize", hello)
    assert greeted.status_code == 200, greeted.text
    session = {"Mcp-Session-Id": greeted.headers["mcp-session-id"], "MCP-Protocol-Version": HANDSHAKE}
    assert asked(here, one, "ping", {}, **session).status_code == 200
    ended = threading.Event()
    listening = headers(one, **session) | {"Accept": "text/event-stream"}
    with httpx.stream("GET", f"{there.url}{one.path}", headers=listening, timeout=60, trust_env=False) as stream:
        assert stream.status_code == 200

        def read() -> None:
            for _ in stream.iter_raw():
                pass
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        assert not ended.wait(0.5)
        end(here, one)
        began = time.monotonic()
        assert ended.wait(ENDED_S)
        while asked(there, one, "ping", {}, **session).status_code not in (401, 404):
            assert time.monotonic() - began < ENDED_S
    for hub in pair.hubs:
        assert asked(hub, one, "ping", {}, **session).status_code in (401, 404)
