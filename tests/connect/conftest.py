"""A hub with guarded servers of both eras, and people who connect their accounts through its pages."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ask
from tests.harness.upstreams import GuardedServer, guarded_http
from tests.harness.waiting import until

OWNER: Final = "owner@example.org"
ALICE: Final = "alice@example.org"
BOB: Final = "bob@example.org"
SECOND: Final = "second@example.org"
LEAVER: Final = "leaver@example.org"
ROLES: Final = {ALICE: "viewer", BOB: "viewer", SECOND: "operator", LEAVER: "viewer"}
ALICES: Final = {"account": "alice", "scopes": ["notes:read"]}
BOBS: Final = {"account": "bob", "scopes": ["notes:read", "notes:write"]}
PERSONAL: Final = {"mode": "per-user", "help": "Make one at notes.example."}
KEYED: Final = {"mode": "per-user", "header": "X-Api-Key", "format": "{key}"}
SHARED: Final = {"mode": "shared"}
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
    """The hub and the servers: `old` speaks the handshake era, `new` the modern one; `team` is `old`, shared."""

    hub: Hub
    old: GuardedServer
    new: GuardedServer
    keys: dict[str, str]

    def let_in(self, **tokens: dict[str, Any]) -> None:
        """Both servers know these accounts from now on."""
        self.old.let_in(**tokens)
        self.new.let_in(**tokens)

    @cache  # noqa: B019  # a few names, for as long as the tests run
    def upstream_id(self, slug: str) -> str:
        """The id of an upstream, as the page of connections links it."""
        with self.browser(OWNER) as browser:
            page = browser.get("/connect/")
        before = page.partition(f">{slug}</a>")[0]
        return before.rpartition("/connect/")[2].partition("/")[0]

    @contextmanager
    def browser(self, email: str) -> Iterator[Browser]:
        """Somebody signed in."""
        with Browser(self.hub.url) as browser:
            browser.sign_in(email)
            yield browser

    def connect(self, email: str, slug: str, key: str, **fields: str) -> None:
        """Paste a key on the page of this upstream, and wait until its tools are listed."""
        self.paste(email, slug, key, **fields)
        until(f"{email}'s tools of {slug}", lambda: f"{slug}__get_account" in self.tools(email), 30)

    def paste(self, email: str, slug: str, key: str, **fields: str) -> None:
        """The first half of it."""
        page = f"/connect/{self.upstream_id(slug)}/"
        with self.browser(email) as browser:
            browser.submit(page, "key-form", to=f"{page}key/", key=key, **fields)

    def tools(self, email: str) -> list[str]:
        """What this person is listed now."""
        return [tool["name"] for tool in ask(self.hub.mcp_url, self.keys[email], "tools/list", {})["tools"]]

    def disconnect(self, email: str, slug: str) -> None:
        """Press the button."""
        page = f"/connect/{self.upstream_id(slug)}/"
        with self.browser(email) as browser:
            browser.submit(page, "disconnect-form", to=f"{page}disconnect/")


@contextmanager
def guarded_place(folder: Path, **settings: str) -> Iterator[Place]:
    """Such a hub with its own settings."""
    with ExitStack() as stack:
        old = stack.enter_context(guarded_http(folder, "handshake"))
        new = stack.enter_context(guarded_http(folder, "modern"))
        hub = stack.enter_context(Hub(folder / "hub", **settings))
        servers = {
            "old": {"url": old.url, "credential": PERSONAL},
            "new": {"url": new.url, "credential": KEYED},
            "team": {"url": old.url, "credential": SHARED, "headers": {"Authorization": "Bearer of-the-operator"}},
        }
        hub.up("--config", str(servers_file(folder / "servers.json", servers)))
        with Browser(hub.url) as browser:
            browser.sign_in(OWNER)
        keys = json.loads(hub.manage("shell", "--no-imports", "-c", PEOPLE.format(ROLES, OWNER)))
        yield Place(hub, old, new, keys)


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all tests of this folder."""
    with guarded_place(tmp_path_factory.mktemp("guarded")) as made:
        yield made


@pytest.fixture
def nobody_is_connected(place: Place) -> None:
    """Before the test."""
    place.let_in(**{"alice-token": ALICES, "bob-token": BOBS, "team-token": {"account": "team", "scopes": []}})
    with httpx.Client(headers={"X-API-Key": place.keys[OWNER]}, trust_env=False, timeout=60) as http:
        held = http.get(f"{place.hub.url}/api/v1/orgs/default/credentials").json()["items"]
        for each in held:
            assert http.delete(f"{place.hub.url}/api/v1/orgs/default/credentials/{each['id']}").is_success
