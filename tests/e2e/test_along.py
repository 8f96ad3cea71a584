"""What goes upstream with a call: what the operator chose, and never what opens the hub."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import httpx
import jwt
import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.upstreams.dumping import Dumping, dumping

KINDS: Final = ("modern", "session", "shared", "stateless", "plain")
CLIENT: Final = {
    "Cookie": "session=canary-cookie",
    "Proxy-Authorization": "Basic canary-proxy",
    "X-Forwarded-User": "canary-user",
    "X-Tenant": "acme",
    "Accept-Language": "de",
    "X-Unlisted": "canary-unlisted",
}


def era_of(kind: str) -> Era:
    """What the upstream of this kind speaks."""
    return "modern" if kind == "modern" else "handshake"


@dataclass
class Places:
    hub: Hub
    dumps: dict[str, Dumping]

    async def call(self, kind: str, era: Era) -> dict[str, Any]:
        """What arrived there with one call."""
        async with raw_client(self.hub.mcp_url, self.hub.key, era) as client:
            tool = {"name": f"{kind}__dump", "arguments": {}}
            answer = (await client.send("tools/call", tool, headers=CLIENT)).text
        text = answer.partition("data: ")[2] if answer.startswith(("event", "data", ":", "id")) else answer
        return dict(json.loads(json.loads(text)["result"]["content"][0]["text"]))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("along")
    with ExitStack() as running:
        dumps = {kind: running.enter_context(dumping(era_of(kind), sessions=kind != "stateless")) for kind in KINDS}
        servers = {kind: {"url": dump.url} for kind, dump in dumps.items()}
        for kind in ("shared", "stateless"):
            servers[kind]["sharing"] = "shared"
        hub = running.enter_context(Hub(folder / "hub"))
        hub.up()
        hub.manage("import_servers", str(servers_file(folder / "servers.json", servers)))
        browser = running.enter_context(Browser(hub.url))
        browser.sign_in("owner@example.org")
        for kind in KINDS:
            _configure(browser, kind)
        hub.until_listed(*KINDS)
        yield Places(hub, dumps)


def _configure(browser: Browser, kind: str) -> None:
    page = browser.get("/admin/upstreams/upstream/")
    row = page.split(f">{kind}<")[0].rpartition('href="')[2].partition('"')[0].partition("?")[0]
    along = {"plain": {}, "session": {"claims": "meta"}}.get(kind, {"claims": "header"})
    listed = "" if kind == "plain" else "X-Tenant\nAccept-Language"
    browser.submit(row, "upstream_form", forward_headers=listed, allow_address="on", **along)


@pytest.mark.requirement("U16")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("era", ERAS)
async def test_only_listed_headers_arrive_and_never_in_a_session_that_several_share(
    places: Places, kind: str, era: Era
) -> None:
    arrived = await places.call(kind, era)
    sent = arrived["headers"]
    mixed = kind in ("shared", "plain")
    assert sent.get("x-tenant") == (None if mixed else "acme")
    assert sent.get("accept-language") == (None if mixed else "de")
    everything = json.dumps(places.dumps[kind].seen)
    assert "canary" not in everything
    assert places.hub.key not in everything
    assert not {"authorization", "cookie", "proxy-authorization", "x-forwarded-user", "x-api-key"} & sent.keys()


@pytest.mark.requirement("U22")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("era", ERAS)
async def test_upstream_can_check_who_is_calling(places: Places, kind: str, era: Era) -> None:
    arrived = await places.call(kind, era)
    header = arrived["headers"].get("x-mcphub-caller")
    member = arrived["params"].get("_meta", {}).get("mcphub/caller")
    if kind == "plain":
        assert (header, member) == (None, None)
        return
    token = member if kind == "session" else header
    assert (header is None) == (kind == "session")
    keys = jwt.PyJWKSet.from_dict(httpx.get(f"{places.hub.url}/.well-known/mcphub/keys.json").json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    said = jwt.decode(token, key, algorithms=["ES256"], audience=places.dumps[kind].url)
    assert said["org"] == "default"
    assert said["roles"] == ["owner"]
    assert said["sub"].startswith(("key:", "user:"))
    assert said["iss"].startswith("http")
    assert said["exp"] - said["iat"] <= 60
    if (kind, era) == ("session", "modern"):
        assert said["jti"] in places.hub.manage("export_audit", "--org", "default")
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, algorithms=["ES256"], audience="http://127.0.0.1:1/mcp")
