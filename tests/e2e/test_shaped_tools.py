"""Tools as an operator shows them: another name and words, arguments that nobody chooses, seen from clients."""

import json
import re

import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub
from tests.harness.raw import ERAS, Era, RpcFailed, raw_client

TOOLS = "/admin/upstreams/definition/"


@pytest.fixture(scope="module")
def shaped_hub(shared_hub: Hub) -> Hub:
    """`echo` is called `say`, described otherwise, and says always the same; `count` counts to two by default."""
    with Browser(shared_hub.url) as browser:
        browser.sign_in("owner@example.org")
        for name, changes in {
            "echo": {
                "alias": "say",
                "described_as": "Says what it is told to.",
                "arguments-mode-0": "fixed",
                "arguments-value-0": "house rule",
            },
            "count": {"arguments-mode-0": "default", "arguments-value-0": "2"},
        }.items():
            listed = browser.get(f"{TOOLS}?q={name}")
            page = re.search(rf'href="({TOOLS}[^"/]+/change/)[^"]*"[^>]*>{name}<', listed)
            assert page is not None, listed
            browser.submit(page[1], "definition_form", **changes)
    return shared_hub


@pytest.mark.requirement("N4", "U14")
@pytest.mark.parametrize("era", ERAS)
async def test_clients_meet_the_tool_as_the_operator_shows_it(shaped_hub: Hub, viewer_key: str, era: Era) -> None:
    for key in (shaped_hub.key, viewer_key):
        async with raw_client(shaped_hub.mcp_url, key, era) as client:
            tools = {tool["name"]: tool for tool in (await client.request("tools/list", {}))["tools"]}
            assert "sdk__echo" not in tools
            assert tools["sdk__say"]["description"] == "Says what it is told to."
            assert tools["sdk__say"]["inputSchema"]["properties"] == {}
            assert (await client.call("sdk__say"))["content"][0]["text"] == "house rule"
            assert (await client.call("sdk__echo"))["content"][0]["text"] == "house rule"
            assert (await client.call("sdk__count"))["content"][0]["text"] == "2"
            assert (await client.call("sdk__count", to=1))["content"][0]["text"] == "1"
            refused = await client.call("sdk__say", text="mine")
    assert refused["isError"]
    assert "set by an operator" in refused["content"][0]["text"]
    assert "/why/" in refused["content"][0]["text"]


@pytest.mark.requirement("N4")
async def test_on_the_upstreams_own_address_its_names_are_the_operators(shaped_hub: Hub) -> None:
    async with raw_client(f"{shaped_hub.url}/mcp/default/sdk", shaped_hub.key, "modern") as client:
        assert (await client.call("say"))["content"][0]["text"] == "house rule"


@pytest.mark.requirement("N4", "U14")
async def test_hidden_tools_stay_absent_whatever_is_changed_of_them(shaped_hub: Hub) -> None:
    key = shaped_hub.manage_json("create_key", "counts", "--role", "viewer", "--tools", "count")["key"]
    async with raw_client(shaped_hub.mcp_url, key, "modern") as client:
        messages = set()
        for name in ("sdk__say", "sdk__echo", "sdk__way"):
            with pytest.raises(RpcFailed) as unknown:
                await client.call(name, text="mine")
            messages.add(unknown.value.error["message"].replace(name, "N"))
    assert messages == {"Unknown tool: N"}


@pytest.mark.requirement("U14")
async def test_the_record_has_the_original_name_and_what_was_sent(shaped_hub: Hub) -> None:
    async with raw_client(shaped_hub.mcp_url, shaped_hub.key, "modern") as client:
        await client.call("sdk__say")
    exported = shaped_hub.manage("export_audit", "--kind", "intent")
    last = json.loads(exported.splitlines()[-1])
    assert (last["upstream"], last["name"], last["payload"]) == ("sdk", "echo", {"text": "house rule"})
