"""A hub whose rule asks a person about one tool, with somebody who calls and two who approve."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import PROTOCOL, ask
from tests.harness.upstreams import asking_http, sdk_stdio

OWNER: Final = "owner@example.org"
OTHER: Final = "operator@example.org"
ALICE: Final = "alice@example.org"
BOB: Final = "bob@example.org"
ROLES: Final = {OTHER: "operator", ALICE: "viewer", BOB: "viewer"}
RULE: Final = {"effect": "ask", "tools": ["mark", "colours"], "priority": 10, "reason": "marks stay"}
ASKABLE: Final = {"elicitation": {"url": {}}}
PEOPLE: Final = """
import json
from mcphub.accounts import services
from mcphub.accounts.models import Org, User
org = Org.objects.get(slug="default")
for email, role in {0}.items():
    services.add_member(org, services.create_user(email), [role])
print(json.dumps({{
    email: services.create_key(org, email, user=User.objects.get(email=email)).plain for email in [*{0}, "{1}"]
}}))
"""


@dataclass(eq=False)
class Place:
    """The hub, the file in which the upstream marks what it did, and everybody's key."""

    hub: Hub
    marks: Path
    keys: dict[str, str]

    def done(self) -> list[str]:
        """The words that were marked: what really ran."""
        return self.marks.read_text().split() if self.marks.exists() else []

    def api(self, method: str, path: str, email: str = OWNER, **body: Any) -> httpx.Response:
        """A request of the REST API below the org."""
        headers = {"X-API-Key": self.keys[email]}
        url = f"{self.hub.url}/api/v1/orgs/default/{path}"
        return httpx.request(method, url, json=body or None, headers=headers, trust_env=False, timeout=60)

    def waiting(self) -> list[dict[str, Any]]:
        """What waits for an answer."""
        items = self.api("GET", "approvals?state=waiting&limit=200").json()["items"]
        return [dict(each) for each in items]

    def held(self, word: str) -> dict[str, Any]:
        """The one held call with this word."""
        (found,) = [each for each in self.waiting() if each["arguments"].get("word") == word]
        return found

    def mark(self, word: str, email: str = ALICE, capabilities: Any = ASKABLE, **round_: Any) -> dict[str, Any]:
        """One round of the call, by a modern client."""
        envelope = {f"{PROTOCOL}/clientCapabilities": capabilities}
        params = {"name": "sdk__mark", "arguments": {"word": word}, **round_, "_meta": envelope}
        return dict(ask(self.hub.mcp_url, self.keys[email], "tools/call", params))

    async def marked(self, word: str, email: str = ALICE, **round_: Any) -> dict[str, Any]:
        """The same beside other things."""
        return await asyncio.to_thread(self.mark, word, email, **round_)

    @contextmanager
    def browser(self, email: str) -> Iterator[Browser]:
        """Somebody signed in."""
        with Browser(self.hub.url) as browser:
            browser.sign_in(email)
            yield browser

    def answer(self, id: str, email: str, answer: str, note: str = "") -> str:
        """Answer on the page, as a browser does; what the next page says."""
        path = f"/org/default/approvals/{id}/"
        with self.browser(email) as browser:
            to = browser.submit(path, f"answer-{id}", to=f"{path}answer/", answer=answer, note=note)
            return browser.get(to)


def settled(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a client adds to its next round when its person has opened the page."""
    responses = {key: {"action": "accept"} for key in asked["inputRequests"]}
    return {"inputResponses": responses, "requestState": asked["requestState"]}


def page_of(asked: Mapping[str, Any]) -> str:
    """The page that a client was asked to open."""
    ((_, question),) = asked["inputRequests"].items()
    return str(question["params"]["url"])


def id_of(url: str) -> str:
    """The id of the held call behind a page."""
    return url.rstrip("/").rpartition("/")[2]


def why(result: Mapping[str, Any]) -> str:
    """The reason of a result that is no success."""
    return str(result["_meta"]["mcphub/error"]["reason"])


@contextmanager
def place_in(folder: Path, **settings: str) -> Iterator[Place]:
    """Such a hub with its own settings."""
    marks = folder / "marks"
    limits = "approval_wait_s=2,page_wait_s=2,approvals=40"
    with asking_http(folder, "modern") as modern, Hub(folder / "hub", limits=limits, **settings) as hub:
        servers = {"sdk": sdk_stdio(marks), "modern": {"url": modern}}
        hub.up("--config", str(servers_file(folder / "servers.json", servers)))
        with Browser(hub.url) as browser:
            browser.sign_in(OWNER)
        keys = json.loads(hub.manage("shell", "--no-imports", "-c", PEOPLE.format(ROLES, OWNER)))
        place = Place(hub, marks, keys)
        assert place.api("PUT", "rules/ask", **RULE).is_success
        hub.until_listed("sdk", "modern")
        yield place


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all tests of this folder; each test uses words of its own."""
    with place_in(tmp_path_factory.mktemp("approvals")) as made:
        yield made
