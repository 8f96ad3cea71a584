"""Every official client reaches every real upstream through one URL, and gets what the upstream said."""

from typing import Any, Literal

import pytest

from tests.harness import node
from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.hub import Hub
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.upstreams import sdk_http

UPSTREAMS = ("time", "everything", "remote", "memory", "sdk")
TYPESCRIPT = [("1", ""), ("2", ""), ("2", "2026-07-28")]


@pytest.mark.requirement("P1", "P4", "N1")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_python_client_lists_and_calls_all_upstreams(full_hub: Hub, mode: Mode):
    async with python_client(full_hub.mcp_url, full_hub.key, mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {name.split("__")[0] for name in names} == set(UPSTREAMS)
        time = await client.call_tool("time__get_current_time", {"timezone": "Europe/Berlin"})
        assert "Europe/Berlin" in time.content[0].text
        for upstream in ("everything", "remote"):
            said = await client.call_tool(f"{upstream}__echo", {"message": "grüezi"})
            assert said.content[0].text == "Echo: grüezi"


@pytest.mark.requirement("U3")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_stateful_upstream_remembers(full_hub: Hub, mode: Mode):
    entity = {"name": f"from {mode}", "entityType": "test", "observations": ["seen"]}
    async with python_client(full_hub.mcp_url, full_hub.key, mode) as client:
        await client.call_tool("memory__create_entities", {"entities": [entity]})
        graph = await client.call_tool("memory__read_graph", {})
    assert f"from {mode}" in graph.content[0].text


@pytest.mark.requirement("P1", "P4")
@pytest.mark.parametrize(("sdk", "pin"), TYPESCRIPT)
def test_typescript_clients_list_and_call(full_hub: Hub, sdk: Literal["1", "2"], pin: str):
    steps: list[tuple[str, dict[str, Any]]] = [
        ("listTools", {}),
        ("callTool", {"name": "everything__get-sum", "arguments": {"a": 20, "b": 22}}),
        ("callTool", {"name": "sdk__echo", "arguments": {"text": "hi"}}),
    ]
    seen = node.typescript(sdk, full_hub.mcp_url, full_hub.key, steps, pin=pin)
    listed, total, echoed = (answer["result"] for answer in seen.answers)
    assert {tool["name"].split("__")[0] for tool in listed["tools"]} == set(UPSTREAMS)
    assert "42" in total["content"][0]["text"]
    assert echoed["content"] == [{"type": "text", "text": "hi"}]


def test_inspector_lists_and_calls(full_hub: Hub):
    call = ("--method", "tools/call", "--tool-name", "time__get_current_time", "--tool-arg", "timezone=UTC")
    listed = node.inspector(full_hub.mcp_url, full_hub.key, "--method", "tools/list")
    assert "time__get_current_time" in {tool["name"] for tool in listed["tools"]}
    assert "UTC" in node.inspector(full_hub.mcp_url, full_hub.key, *call)["content"][0]["text"]


@pytest.mark.requirement("P8")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("picture", {}), ("measure", {}), ("fail", {"text": "no such thing"}), ("echo", {"text": "\u2028 ü 🙂"})],
)
async def test_results_are_those_of_the_upstream(
    full_hub: Hub, tmp_path: Any, era: Era, tool: str, arguments: dict[str, Any]
):
    with sdk_http(tmp_path) as url:
        async with raw_client(url, "", era) as direct, raw_client(full_hub.mcp_url, full_hub.key, era) as client:
            expected = await direct.call(tool, **arguments)
            seen = await client.call(f"sdk__{tool}", **arguments)
    assert _plain(seen) == _plain(expected)


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    """Without the facts about the answering server, which are the hub's own business."""
    return {key: value for key, value in result.items() if key != "_meta"}


@pytest.mark.requirement("P8")
@pytest.mark.parametrize("era", ERAS)
async def test_images_of_a_node_upstream_arrive(full_hub: Hub, era: Era):
    async with raw_client(full_hub.mcp_url, full_hub.key, era) as client:
        for upstream in ("everything", "remote"):
            parts = (await client.call(f"{upstream}__get-tiny-image"))["content"]
            assert [part["mimeType"] for part in parts if part["type"] == "image"] == ["image/png"]


@pytest.mark.requirement("P2")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("path", ["/time/mcp", "/mcp/default/time"])
async def test_one_upstream_alone_shows_its_own_names(full_hub: Hub, era: Era, path: str):
    async with raw_client(full_hub.url + path, full_hub.key, era) as client:
        assert await client.names() == ["convert_time", "get_current_time"]
        answer = await client.call("get_current_time", timezone="UTC")
    assert not answer.get("isError")


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("era", ERAS)
async def test_prompts_and_resources_pass_too(full_hub: Hub, era: Era):
    async with raw_client(full_hub.mcp_url, full_hub.key, era) as client:
        prompt = await client.request("prompts/get", {"name": "sdk__greet", "arguments": {"name": "Ada"}})
        assert prompt["messages"][0]["content"]["text"] == "Please greet Ada."
        listed = await client.request("resources/list", {})
        assert "note://today" in {resource["uri"] for resource in listed["resources"]}
        read = await client.request("resources/read", {"uri": "note://today"})
        assert read["contents"][0]["text"] == "The note of today."


@pytest.mark.requirement("N5")
@pytest.mark.parametrize("era", ERAS)
async def test_bare_name_works_when_it_is_unique(full_hub: Hub, era: Era):
    async with raw_client(full_hub.mcp_url, full_hub.key, era) as client:
        answer = await client.call("get_current_time", timezone="UTC")
        assert not answer.get("isError")
