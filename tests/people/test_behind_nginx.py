"""A hub behind a real nginx with the recipe of the docs: addresses, cookies, CORS, and people who are removed."""

import re
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.harness.hub import Hub
from tests.harness.nginx import nginx
from tests.harness.processes import free_port
from tests.harness.raw import ACCEPT
from tests.harness.waiting import until
from tests.ops.tls import self_signed

PASSWORD: Final = "four unrelated plain words"
ALLOWED: Final = "https://app.example"
ENDED_S: Final = 5
PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HELLO: Final = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@dataclass(frozen=True)
class Site:
    """The hub as the world sees it."""

    hub: Hub
    url: str
    trust: ssl.SSLContext

    def http(self, address: str = "127.0.0.2") -> httpx.Client:
        """A client that calls from that address of this machine."""
        transport = httpx.HTTPTransport(verify=self.trust, local_address=address)
        return httpx.Client(transport=transport, base_url=self.url, trust_env=False, timeout=30)

    def sources(self, kind: str) -> list[str]:
        """The addresses on record, of that kind of event."""
        with sqlite3.connect(self.hub.database, timeout=10) as database:
            rows = database.execute("SELECT source FROM audit_auditevent WHERE kind = ? ORDER BY id", (kind,))
            return [row[0] for row in rows]


class Person:
    """Somebody at the hub's pages, signed in through a one-time link."""

    def __init__(self, site: Site, email: str, role: str, address: str = "127.0.0.2") -> None:
        made = site.hub.manage_json("create_user", email, "--org", "default", "--role", role)
        self.http = site.http(address)
        self.url = site.url
        self.http.get(made["link"])
        self.answer = self.post("/set-password/", {"password": PASSWORD, "again": PASSWORD})
        assert self.answer.status_code == 302, self.answer.text

    def post(self, path: str, form: dict[str, Any]) -> httpx.Response:
        page = path if path.endswith(("keys/", "set-password/")) else "/devices/"
        self.http.get(page)
        token = self.http.cookies["__Host-csrf"]
        return self.http.post(path, data=form, headers={"X-CSRFToken": token, "Referer": f"{self.url}/"})

    def key(self) -> str:
        answer = self.post("/org/default/keys/", {"name": "laptop", "lifetime": ""})
        found = re.search(r"mcph_[a-z2-7]+_[a-z2-7]+", answer.text)
        assert found, answer.text
        return found[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("behind")
    certificate, key = self_signed(folder)
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    settings = {
        "server_url": url,
        "trusted_proxies": "127.0.0.1/32",
        "allowed_origins": ALLOWED,
        "sign_in": "password",
    }
    with Hub(folder / "hub", **settings) as hub:
        hub.up()
        with nginx(folder / "nginx", port, hub.port, certificate, key):
            yield Site(hub, url, ssl.create_default_context(cafile=str(certificate)))


def headers(key: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Accept": ACCEPT, "Content-Type": "application/json", **more}


@pytest.fixture(scope="module")
def owner(site: Site) -> Person:
    return Person(site, "owner@example.org", "owner")


@pytest.mark.requirement("X12")
def test_cookies_are_secure_and_the_record_names_the_real_address(site: Site, owner: Person) -> None:
    cookies = owner.answer.headers.get_list("set-cookie")
    session = next(text for text in cookies if text.startswith("__Host-session="))
    assert "Secure" in session
    assert "HttpOnly" in session
    assert "127.0.0.2" in site.sources("sign-in")
    assert "127.0.0.2" in owner.http.get("/devices/").text


@pytest.mark.requirement("X12")
def test_what_a_client_says_of_its_address_is_not_believed(site: Site) -> None:
    """Through the proxy it is replaced; past the proxy, from an address that is not trusted, it is ignored."""
    spoofed = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6"}
    wrong = {"email": "owner@example.org", "password": "wrong"}
    with site.http("127.0.0.3") as http:
        http.get("/sign-in/")
        token = http.cookies["__Host-csrf"]
        sent = {**spoofed, "X-CSRFToken": token, "Referer": f"{site.url}/"}
        assert http.post("/sign-in/", data=wrong, headers=sent).status_code == 401
    assert "127.0.0.3" in site.sources("sign-in")
    assert "6.6.6.6" not in site.sources("sign-in")
    direct = httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.4"), trust_env=False)
    answer = direct.get(f"{site.hub.url}/mcp", headers={**spoofed, "X-Forwarded-Proto": "https"})
    assert answer.status_code == 401


@pytest.mark.requirement("X12")
def test_guessing_counts_for_the_guesser_and_not_for_the_proxy(site: Site, owner: Person) -> None:
    """F50 behind a proxy: 401, then 429, while others behind it go on."""
    with site.http("127.0.0.5") as guesser, site.http("127.0.0.6") as other:
        statuses = [
            guesser.post("/mcp", json=PING, headers=headers(f"mcph_guess{n}", **{"X-Forwarded-For": f"9.9.9.{n}"}))
            for n in range(35)
        ]
        assert [answer.status_code for answer in statuses[:30]] == [401] * 30
        assert statuses[-1].status_code == 429
        assert int(statuses[-1].headers["retry-after"]) > 0
        assert other.post("/mcp", json=PING, headers=headers("mcph_guess")).status_code == 401


@pytest.mark.requirement("X12")
def test_only_pages_of_allowed_origins_may_call(site: Site) -> None:
    with site.http() as http:
        allowed = http.options("/mcp", headers={"Origin": ALLOWED, "Access-Control-Request-Method": "POST"})
        assert allowed.headers["access-control-allow-origin"] == ALLOWED
        own = http.post("/mcp", json=PING, headers=headers(site.hub.key, Origin=site.url))
        assert own.status_code != 403
        for path in ("/mcp", "/sign-in/", "/api/v1/me"):
            assert http.get(path, headers={"Origin": "https://evil.example"}).status_code == 403
        rebound = http.get("/mcp", headers={"Host": "evil.example"})
        assert rebound.status_code == 421


@pytest.mark.requirement("T4")
@pytest.mark.parametrize("how", ["removed", "key revoked"])
def test_who_is_removed_loses_an_open_stream_within_five_seconds(site: Site, owner: Person, how: str) -> None:
    """F40 and F37, from the pages, through the proxy."""
    email = f"{how.replace(' ', '-')}@example.org"
    member = Person(site, email, "member", "127.0.0.7")
    key = member.key()
    ended = threading.Event()
    http = site.http("127.0.0.7")
    opened = http.post("/mcp", json=HELLO, headers=headers(key))
    assert opened.status_code == 200, opened.text
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}
    with http.stream("GET", "/mcp", headers={**headers(key), **session, "Accept": "text/event-stream"}) as stream:
        assert stream.status_code == 200

        def read() -> None:
            for _ in stream.iter_raw():
                pass
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        began = time.monotonic()
        if how == "removed":
            page = owner.http.get("/org/default/members/").text
            row = re.search(rf"{email}.*?/members/([0-9a-f-]{{36}})/", page, re.DOTALL)
            assert row
            owner.post(f"/org/default/members/{row[1]}/remove/", {})
        else:
            page = member.http.get("/org/default/keys/").text
            row = re.search(r"/keys/([0-9a-f-]{36})/revoke/", page)
            assert row
            member.post(f"/org/default/keys/{row[1]}/revoke/", {})
        assert ended.wait(ENDED_S)
        assert time.monotonic() - began < ENDED_S
    assert http.post("/mcp", json=PING, headers={**headers(key), **session}).status_code == 401
    if how == "removed":
        assert member.http.get("/").headers["location"].startswith("/sign-in/")


def test_the_key_remembers_when_and_from_where(site: Site, owner: Person) -> None:
    key = owner.key()
    with site.http("127.0.0.8") as http:
        http.post("/mcp", json=HELLO, headers=headers(key))
    until("the note of its use", lambda: "127.0.0.8" in owner.http.get("/org/default/keys/").text, 10)
