"""Whatever an upstream answers comes through as the same JSON, in every combination of eras."""

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.processes import free_port
from tests.harness.raw import ACCEPT, ERAS, HANDSHAKE, MODERN, PROTOCOL, Era
from tests.harness.upstreams import listening
from tests.transparency.definitions import DEFINITIONS

pytestmark = pytest.mark.requirement("P8")

SERVER_INFO: Final = f"{PROTOCOL}/serverInfo"
COMPLETE: Final = {"resultType": "complete"}
CACHED: Final = {"ttlMs": 0, "cacheScope": "private"}
REWRITTEN: Final = frozenset({"resultType", "ttlMs", "cacheScope", "structuredContent", "_meta"})

many = settings(max_examples=40, deadline=None)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts.filter(lambda name: name not in REWRITTEN), values, max_size=5)
metas = st.dictionaries(texts.filter(lambda name: name != SERVER_INFO), values, max_size=3)
blocks = st.fixed_dictionaries(
    {"type": texts}, optional={"text": texts, "uri": texts, "resource": values, "_meta": metas}
)
results = st.builds(
    lambda extra, known: {**extra, **known},
    objects,
    st.fixed_dictionaries(
        {"content": st.lists(blocks, max_size=3)},
        optional={"structuredContent": objects, "isError": st.booleans(), "_meta": metas, "contents": values},
    ),
)


@dataclass
class Pair:
    """A client of one era at an upstream of one era."""

    http: httpx.Client
    url: str
    client: Era
    upstream: Era
    headers: dict[str, str]

    def request(self, method: str, params: Mapping[str, Any], **headers: str) -> Any:
        """The result, its numbers as they were written."""
        if self.client == "modern":
            envelope = {f"{PROTOCOL}/protocolVersion": MODERN, f"{PROTOCOL}/clientCapabilities": {}}
            params = {**params, "_meta": envelope}
            headers |= {"Mcp-Method": method}
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        response = self.http.post(self.url, json=message, headers={**self.headers, **headers})
        assert response.status_code == httpx.codes.OK, response.text
        return exact(response.text)["result"]

    def call(self, **arguments: Any) -> Any:
        """`tools/call` of `say`."""
        return self.request("tools/call", {"name": "say", "arguments": arguments}, **{"Mcp-Name": "say"})


def exact(text: str) -> Any:
    """JSON with numbers as text: `1`, `1.0` and `1e0` differ, and no digit is lost."""
    return json.loads(text, parse_int=str, parse_float=str)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("transparency")
    with ExitStack() as stack:
        servers = {}
        for era in ERAS:
            port = free_port()
            command = [sys.executable, "-m", "tests.transparency.upstream", era, str(port)]
            environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
            stack.enter_context(listening(command, port, folder / f"{era}.log", environment))
            servers[era] = {"url": f"http://127.0.0.1:{port}/mcp"}
        hub = stack.enter_context(Hub(folder / "hub"))
        yield hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*ERAS)


@pytest.fixture(scope="module", params=[(client, upstream) for client in ERAS for upstream in ERAS], ids=" to ".join)
def pair(hub: Hub, request: pytest.FixtureRequest) -> Iterator[Pair]:
    client, upstream = request.param
    url = f"{hub.mcp_url}/default/{upstream}"
    with httpx.Client(timeout=30, trust_env=False) as http:
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {hub.key}"}
        if client == "modern":
            yield Pair(http, url, client, upstream, {**headers, "MCP-Protocol-Version": MODERN})
            return
        hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        greeting = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
        session = http.post(url, json=greeting, headers=headers).headers["mcp-session-id"]
        session_headers = {"MCP-Protocol-Version": HANDSHAKE, "Mcp-Session-Id": session}
        yield Pair(http, url, client, upstream, {**headers, **session_headers})


@many
@given(said=results)
def test_tool_result_comes_through(pair: Pair, said: dict[str, Any]):
    said = {**said, **(COMPLETE if pair.upstream == "modern" else {})}
    assert pair.call(say=json.dumps(said, ensure_ascii=False)) == seen(said, pair)


@many
@given(said=objects)
def test_prompt_comes_through(pair: Pair, said: dict[str, Any]):
    said = {**said, **(COMPLETE if pair.upstream == "modern" else {})}
    params = {"name": "say", "arguments": {"say": json.dumps(said)}}
    assert pair.request("prompts/get", params, **{"Mcp-Name": "say"}) == seen(said, pair)


@many
@given(said=objects)
def test_resource_comes_through(pair: Pair, said: dict[str, Any]):
    said = {**said, **(COMPLETE | CACHED if pair.upstream == "modern" else {})}
    uri = "say:" + base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    assert pair.request("resources/read", {"uri": uri}, **{"Mcp-Name": uri}) == seen(said, pair, CACHED)


@many
@given(arguments=objects.filter(lambda arguments: "say" not in arguments))
def test_arguments_come_through(pair: Pair, arguments: dict[str, Any]):
    heard = pair.call(**arguments)["heard"]
    assert heard["arguments"] == exact(json.dumps(arguments))


@pytest.mark.parametrize("structured", [[1, 2], "text", 7, None, True])
def test_structured_content_of_any_kind_reaches_whoever_can_take_it(pair: Pair, structured: Any):
    said = {"content": [], "structuredContent": structured, **(COMPLETE if pair.upstream == "modern" else {})}
    got = pair.call(say=json.dumps(said))["structuredContent"]
    wrapped = pair.client == "handshake" and pair.upstream == "modern"
    assert got == exact(json.dumps({"result": structured} if wrapped else structured))


def test_definitions_come_through(pair: Pair):
    listed = {tool["name"]: tool for tool in pair.request("tools/list", {})["tools"]}
    assert listed == {tool["name"]: tool for tool in exact(json.dumps(DEFINITIONS))}


def seen(said: Mapping[str, Any], pair: Pair, cached: Mapping[str, Any] | None = None) -> Any:
    """What the client must see of `said`: the same, but for what only one of the two eras knows."""
    shown = dict(said)
    if pair.client == "handshake" and pair.upstream == "modern":
        for name in {**COMPLETE, **CACHED}:
            shown.pop(name, None)
    elif pair.client == "modern" and pair.upstream == "handshake":
        shown |= {**COMPLETE, **(cached or {})}
    return exact(json.dumps(shown))
