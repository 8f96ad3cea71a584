"""Every form of MCP endpoint × everybody × every id (F51), over a real hub: what is not yours is not there.

The URLs that `tests/isolation/test_urls.py` cannot ask, for the edge answers them and not Django, and the documents
beside them that say how to get in.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from gateway.edge import paths
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ACCEPT, HANDSHAKE
from tests.harness.upstreams import sdk_stdio
from tests.harness.waiting import until

PATHS: Final = (
    "/mcp/{org}",
    "/mcp/{org}/{upstream}",
    "/mcp/{org}/t/{toolset}",
    "/{upstream}/mcp",
    "/{upstream}/sse",
    "/{upstream}/messages",
)
"""With something in them that belongs to one org."""

OF_NORTH: Final = {"org": "north", "upstream": "kept", "toolset": "few"}
NOBODYS: Final = {"org": "nowhere", "upstream": "none", "toolset": "nil"}
INSIDE: Final = ("owner", "member", "service")
OUTSIDE: Final = ("outsider", "outside_service", "revoked", "removed", "guess", "anonymous")
"""outsider: owner of another org. removed: a member once."""

DOCUMENTS: Final = ("oauth-protected-resource", "oauth-authorization-server", "openid-configuration")
SETUP: Final = """
import json, sys
from django.core.management import call_command
from mcphub.accounts import services
from mcphub.accounts.models import Membership
from policies.models import Toolset
north, south = services.create_org("north"), services.create_org("south")
call_command("import_servers", "SERVERS", org="north", stdout=sys.stderr)
Toolset.objects.create(org=north, slug="few", name="few", tools=["*"])
keys = {}
for name, org, roles in (("owner", north, ["owner"]), ("member", north, ["viewer"]), ("removed", north, ["owner"]),
                         ("revoked", north, ["owner"]), ("outsider", south, ["owner"])):
    user = services.create_user(f"{name}@example.org")
    services.add_member(org, user, roles)
    made = services.create_key(org, name, user=user)
    keys[name] = made.plain
    if name == "revoked":
        services.revoke_key(made.row)
services.remove_member(Membership.objects.get(user__email="removed@example.org"))
keys["service"] = services.create_key(north, "robot", roles=["owner"]).plain
keys["outside_service"] = services.create_key(south, "robot", roles=["owner"]).plain
print(json.dumps(keys))
"""


@dataclass(frozen=True)
class World:
    """The hub, and everybody's key; "" for who has none."""

    hub: Hub
    keys: dict[str, str]

    def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request; of a stream only its head."""
        given = {"Authorization": f"Bearer {self.keys[who]}"} if self.keys[who] else {}
        content = {} if body is None else {"json": body}
        with (
            httpx.Client(base_url=self.hub.url, trust_env=False, timeout=30) as http,
            http.stream(method, path, headers={"Accept": ACCEPT, **given, **headers}, **content) as answer,
        ):
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                answer.read()
            return answer

    def greet(self, who: str, path: str) -> httpx.Response:
        """Begin a session."""
        hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        return self.ask(who, "POST", path, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("endpoints")
    config = servers_file(folder / "servers.json", {"kept": sdk_stdio(folder / "marks")})
    with Hub(folder / "hub", limits="key_attempts=100000") as hub:
        hub.up()
        keys = json.loads(hub.manage("shell", "--no-imports", "-c", SETUP.replace("SERVERS", str(config))))
        made = World(hub, {**keys, "guess": f"mcph_{'a' * 16}_{'b' * 40}", "anonymous": ""})
        until("the tools of north", lambda: b"kept__echo" in _tools(made), 30)
        yield made


def _tools(world: World) -> bytes:
    session = world.greet("owner", "/mcp/north").headers["mcp-session-id"]
    body = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
    return world.ask("owner", "POST", "/mcp/north", body, **{"Mcp-Session-Id": session}).content


def seen(answer: httpx.Response) -> tuple[Any, ...]:
    """An answer without what differs between any two, and with north's ids as if nobody had them."""
    body = "" if answer.headers.get("content-type", "").startswith("text/event-stream") else answer.text
    place = answer.headers.get("www-authenticate", "")
    for name, own in OF_NORTH.items():
        body, place = body.replace(own, NOBODYS[name]), place.replace(own, NOBODYS[name])
    kept = {name for name in answer.headers if name not in ("date", "content-length")}
    return answer.status_code, place, sorted(kept), body


def test_every_form_of_endpoint_is_here() -> None:
    """A form that is added to the edge has to be added above."""
    filled = [path.format(**OF_NORTH) for path in (*PATHS, "/mcp", "/sse", "/messages")]
    matched = {form for form in paths._FORMS for path in filled if form.fullmatch(path)}
    assert matched == set(paths._FORMS)


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("who", OUTSIDE)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "PUT"])
def test_who_is_outside_cannot_tell_an_endpoint_from_none(world: World, who: str, path: str, method: str) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"} if method == "POST" else None
    own, none = path.format(**OF_NORTH), path.format(**NOBODYS)
    answer = world.ask(who, method, own, body)
    assert seen(answer) == seen(world.ask(who, method, none, body))
    if method == "POST" and not path.endswith(("/sse", "/messages")):
        greeted = world.greet(who, own)
        assert greeted.status_code in (401, 404)
        assert seen(greeted) == seen(world.greet(who, none))


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("path", [path for path in PATHS if not path.endswith(("/sse", "/messages"))])
@pytest.mark.parametrize("who", INSIDE)
def test_who_is_inside_is_let_in(world: World, who: str, path: str) -> None:
    assert world.greet(who, path.format(**OF_NORTH)).status_code == 200
    assert world.greet(who, path.format(**NOBODYS)).status_code == 404


@pytest.mark.requirement("T6", "P6")
@pytest.mark.parametrize("who", ["outsider", "outside_service", "member", "service"])
def test_a_session_of_somebody_else_is_as_good_as_none(world: World, who: str) -> None:
    theirs = world.greet("owner", "/mcp").headers["mcp-session-id"]
    own = world.greet(who, "/mcp").headers["mcp-session-id"]
    altered = own[:-2] + ("AA" if own[-2:] != "AA" else "BB")
    for method, body in (("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"}), ("GET", None), ("DELETE", None)):
        given = world.ask(who, method, "/mcp", body, **{"Mcp-Session-Id": theirs})
        assert given.status_code == 404
        for unknown in (altered, uuid.uuid4().hex):
            assert seen(given) == seen(world.ask(who, method, "/mcp", body, **{"Mcp-Session-Id": unknown}))
    assert world.ask("owner", "DELETE", "/mcp", **{"Mcp-Session-Id": theirs}).status_code == 204


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("who", ["outsider", "outside_service"])
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "kept__echo", "arguments": {"text": "x"}}),
        ("prompts/get", {"name": "kept__greet"}),
        ("resources/read", {"uri": "hub+kept:test://a"}),
        ("resources/subscribe", {"uri": "hub+kept:test://a"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "kept__greet"}, "argument": {"name": "a"}}),
    ],
)
def test_what_another_org_has_is_unknown_by_its_name(
    world: World, who: str, method: str, params: dict[str, Any]
) -> None:
    """The names of north at south's own endpoint, and such as nobody has."""
    session = world.greet(who, "/mcp").headers["mcp-session-id"]
    nobodys = json.loads(json.dumps(params).replace("kept", "none"))

    def answered(given: dict[str, Any]) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": given}
        return seen(world.ask(who, "POST", "/mcp", body, **{"Mcp-Session-Id": session}))

    status, _, _, text = answered(params)
    assert status == 200
    assert "error" in json.loads(text)
    assert answered(params) == answered(nobodys)


@pytest.mark.requirement("T6", "S1")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("who", ["anonymous", "outsider", "owner"])
def test_documents_say_nothing_of_what_is_there(world: World, who: str, document: str, path: str) -> None:
    """They are for everybody, so they are made from the URL alone."""
    own, none = (f"/.well-known/{document}{path.format(**ids)}" for ids in (OF_NORTH, NOBODYS))
    assert seen(world.ask(who, "GET", own)) == seen(world.ask(who, "GET", none))


@pytest.mark.requirement("T6", "S1")
@pytest.mark.parametrize("endpoint", ["authorize", "token", "revoke", "register"])
def test_the_authorization_server_says_nothing_of_what_is_there(world: World, endpoint: str) -> None:
    """A resource indicator of somebody's endpoint is as good as one of none."""
    for path in PATHS:
        answers = []
        for ids in (OF_NORTH, NOBODYS):
            fields = {
                "client_id": "mcphub-cli",
                "response_type": "code",
                "grant_type": "authorization_code",
                "code": "c",
                "token": "t",
                "redirect_uri": "http://127.0.0.1:9/back",
                "code_challenge": "a" * 43,
                "code_challenge_method": "S256",
                "code_verifier": "a" * 43,
                "resource": world.hub.url + path.format(**ids),
            }
            with httpx.Client(base_url=world.hub.url, trust_env=False, timeout=30) as http:
                if endpoint == "authorize":
                    answer = http.get("/oauth/authorize", params=fields)
                    answers.append((answer.status_code, answer.headers.get("location", "").split("?")[0]))
                elif endpoint == "register":
                    answer = http.post("/oauth/register", json={"redirect_uris": ["http://e.example/"], **fields})
                    answers.append(seen(answer))
                else:
                    answers.append(seen(http.post(f"/oauth/{endpoint}", data=fields)))
        assert answers[0] == answers[1], path
