"""Toolsets, the client's own globs and tool search: a part of what policy gives, over the wire, never more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ERAS, Era, RpcFailed, ask, raw_client
from tests.harness.upstreams import everything_stdio, sdk_stdio

TOOLSETS = "/admin/policies/toolset/add/"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with two upstreams, a narrow toolset `few` and one with a search, `all`."""
    folder = tmp_path_factory.mktemp("toolsets")
    servers = {"sdk": sdk_stdio(folder / "marks"), "every": everything_stdio()}
    with Hub(folder / "hub") as hub:
        hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*servers)
        with Browser(hub.url) as browser:
            browser.sign_in("operator@example.org")
            few = {"name": "A few", "slug": "few", "tools": "sdk__e*\nsdk__mark, nothing"}
            browser.submit(TOOLSETS, "toolset_form", **few)
            browser.submit(TOOLSETS, "toolset_form", name="All", slug="all", tools="*", search="on")
        yield hub


@pytest.fixture(scope="module")
def viewer_key(hub: Hub) -> str:
    return str(hub.manage_json("create_key", "viewer", "--org", "default", "--role", "viewer")["key"])


def url(hub: Hub, toolset: str) -> str:
    return f"{hub.url}/mcp/default/t/{toolset}"


@pytest.mark.requirement("P19")
@pytest.mark.parametrize("era", ERAS)
async def test_toolset_is_what_it_names_of_what_policy_gives(hub: Hub, viewer_key: str, era: Era):
    async with raw_client(url(hub, "few"), hub.key, era) as client:
        assert set(await client.names()) == {"sdk__echo", "sdk__mark"}
        assert (await client.call("sdk__echo", text="in"))["content"][0]["text"] == "in"
        assert (await client.call("echo", text="bare"))["content"][0]["text"] == "bare"
        for outside in ("sdk__count", "every__echo"):
            with pytest.raises(RpcFailed, match=f"Unknown tool: {outside}"):
                await client.call(outside)
        assert await client.names("prompts/list", "prompts") == []
        uris = [each["uri"] for each in (await client.request("resources/list", {}))["resources"]]
        assert uris
        assert not any("every" in uri for uri in uris)
    async with raw_client(url(hub, "few"), viewer_key, era) as client:
        assert await client.names() == ["sdk__echo"]


@pytest.mark.requirement("P19")
@pytest.mark.parametrize("era", ERAS)
async def test_clients_own_globs_narrow_every_endpoint(hub: Hub, era: Era):
    async with raw_client(f"{hub.mcp_url}?tools=sdk__c*,every__get-sum", hub.key, era) as client:
        assert set(await client.names()) == {"sdk__count", "every__get-sum"}
        with pytest.raises(RpcFailed, match="Unknown tool"):
            await client.call("sdk__echo", text="out")
    async with raw_client(f"{hub.url}/sdk/mcp?tools=ec*", hub.key, era) as client:
        assert await client.names() == ["echo"]
    async with raw_client(f"{url(hub, 'few')}?tools=*echo", hub.key, era) as client:
        assert await client.names() == ["sdk__echo"]
    async with raw_client(f"{hub.mcp_url}?tools=nothing", hub.key, era) as client:
        assert await client.names() == []
        assert (await client.request("resources/list", {}))["resources"] == []


async def test_session_keeps_to_the_globs_that_it_began_with(hub: Hub):
    async with raw_client(f"{hub.mcp_url}?tools=sdk__c*", hub.key, "handshake") as client:
        message = {"jsonrpc": "2.0", "id": 9, "method": "tools/list", "params": {}}
        for wider in (hub.mcp_url, f"{hub.mcp_url}?tools=*"):
            headers = {"Authorization": f"Bearer {hub.key}", "Accept": "*/*", **client.session}
            assert httpx.post(wider, json=message, headers=headers).status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize("globs", ["", ",", "a" * 65, "x y", "%00", ",".join(f"t{number}" for number in range(65))])
def test_globs_that_are_none_are_refused(hub: Hub, globs: str):
    answer = httpx.post(f"{hub.mcp_url}?tools={globs}", json={}, headers={"Authorization": f"Bearer {hub.key}"})
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "tools takes" in answer.text


def test_unknown_toolset_and_one_of_another_org_are_not_found(hub: Hub):
    hub.manage("create_org", "other")
    stranger = str(hub.manage_json("create_key", "stranger", "--org", "other", "--role", "owner")["key"])
    for key, where in ((hub.key, url(hub, "none")), (stranger, url(hub, "few")), (stranger, url(hub, "none"))):
        answer = httpx.post(where, json={}, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code in (400, 404)
        with pytest.raises(RpcFailed) as refused:
            ask(where, key, "tools/list", {})
        assert refused.value.status == httpx.codes.NOT_FOUND


def found(result: Any) -> list[str]:
    return [tool["name"] for tool in json.loads(result["content"][0]["text"])["tools"]]


@pytest.mark.requirement("P20")
@pytest.mark.parametrize("era", ERAS)
async def test_search_finds_and_calls_what_policy_gives(hub: Hub, viewer_key: str, era: Era, tmp_path: Path):
    async with raw_client(url(hub, "all"), hub.key, era) as client:
        listed = (await client.request("tools/list", {}))["tools"]
        assert [tool["name"] for tool in listed] == ["call_tool", "find_tools"]
        assert "every (" in listed[1]["description"]
        assert found(await client.call("find_tools", query="add two numbers"))[0] == "every__get-sum"
        assert "sdk__delete_everything" in found(await client.call("find_tools", query="deleting"))
        assert len(found(await client.call("find_tools", query="echo get sdk every", limit=3))) == 3
        assert found(await client.call("find_tools", query='nosuchword"* - (')) == []
        called = await client.call("call_tool", name="sdk__echo", arguments={"text": "through"})
        assert called["content"][0]["text"] == "through"
        for bad in ({}, {"query": ""}, {"query": 1}, {"query": "x", "limit": 0}, {"query": "x", "limit": True}):
            with pytest.raises(RpcFailed, match="must be"):
                await client.call("find_tools", **bad)
        for bad in ({}, {"name": 1}, {"name": "call_tool"}, {"name": "sdk__echo", "arguments": []}):
            with pytest.raises(RpcFailed, match="takes the name"):
                await client.call("call_tool", **bad)
    async with raw_client(url(hub, "all"), viewer_key, era) as client:
        assert "sdk__delete_everything" not in found(await client.call("find_tools", query="delete everything"))
        with pytest.raises(RpcFailed, match="Unknown tool: sdk__mark"):
            await client.call("call_tool", name="sdk__mark", arguments={"word": "no"})


@pytest.mark.requirement("P20")
def test_call_through_the_search_is_on_record_as_the_call_that_it_is(hub: Hub):
    ask(url(hub, "all"), hub.key, "tools/call", {"name": "call_tool", "arguments": {"name": "sdk__count"}})
    lines = [json.loads(line) for line in hub.manage("export_audit", "--org", "default").splitlines()]
    intents = [line for line in lines if line["kind"] == "intent" and line["name"] == "count"]
    assert intents
    assert not any(line["name"] in ("call_tool", "find_tools") for line in lines)
