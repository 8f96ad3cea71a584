"""Extensions of servers reach clients through the hub: MCP Apps and tasks."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ERAS, PROTOCOL, Era, RawClient, RpcFailed, raw_client
from tests.harness.upstreams import extending_stdio

APPS: Final = "io.modelcontextprotocol/ui"
TASKS: Final = "io.modelcontextprotocol/tasks"
DECLARED: Final = {f"{PROTOCOL}/clientCapabilities": {"extensions": {TASKS: {}}}}


@pytest.fixture(scope="module")
def extended_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A running hub with two servers whose apps have the same URI."""
    folder = tmp_path_factory.mktemp("extended")
    servers = {"here": extending_stdio("here"), "there": extending_stdio("there")}
    with Hub(folder / "hub") as hub:
        yield hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*servers)


async def ask(client: RawClient, method: str, params: dict[str, Any]) -> Any:
    """A request of a client that knows tasks."""
    return await client.request(method, {**params, "_meta": DECLARED})


@pytest.mark.requirement("P13")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("path", ["/mcp", "/here/mcp"])
async def test_extensions_are_said(extended_hub: Hub, era: Era, path: str):
    async with raw_client(extended_hub.url + path, extended_hub.key, era) as client:
        said = await client.connect()
    assert {APPS, TASKS} <= said["capabilities"]["extensions"].keys()


@pytest.mark.requirement("P13", "P12")
@pytest.mark.parametrize("era", ERAS)
async def test_each_tool_leads_to_its_own_app(extended_hub: Hub, era: Era):
    async with raw_client(extended_hub.mcp_url, extended_hub.key, era) as client:
        tools = {tool["name"]: tool for tool in (await client.request("tools/list", {}))["tools"]}
        listed = {each["uri"] for each in (await client.request("resources/list", {}))["resources"]}
        for server in ("here", "there"):
            uri = tools[f"{server}__clock"]["_meta"]["ui"]["resourceUri"]
            assert uri.startswith("ui://")
            assert uri in listed
            (content,) = (await client.request("resources/read", {"uri": uri}))["contents"]
            assert (content["uri"], content["text"]) == (uri, f"<p>{server}</p>")


@pytest.mark.requirement("P13")
@pytest.mark.parametrize("era", ERAS)
async def test_app_keeps_its_uri_where_it_is_alone(extended_hub: Hub, era: Era):
    async with raw_client(f"{extended_hub.url}/there/mcp", extended_hub.key, era) as client:
        (tool,) = [each for each in (await client.request("tools/list", {}))["tools"] if each["name"] == "clock"]
        assert tool["_meta"]["ui"]["resourceUri"] == "ui://clock/app.html"


@pytest.mark.requirement("P14")
async def test_task_goes_on_to_its_result(extended_hub: Hub):
    async with raw_client(extended_hub.mcp_url, extended_hub.key, "modern") as client:
        begun = await ask(client, "tools/call", {"name": "there__slow", "arguments": {}})
        task = {"taskId": begun["taskId"]}
        assert begun["resultType"] == "task"
        assert not begun["taskId"].startswith("t-")
        waiting = await ask(client, "tasks/get", task)
        assert (waiting["taskId"], waiting["inputRequests"].keys()) == (begun["taskId"], {"word"})
        answers = {"word": {"action": "accept", "content": {"word": "grüezi"}}}
        assert (await ask(client, "tasks/update", {**task, "inputResponses": answers}))["resultType"] == "complete"
        ended = await ask(client, "tasks/get", task)
        assert (ended["status"], ended["result"]["content"][0]["text"]) == ("completed", "grüezi")


@pytest.mark.requirement("P14")
async def test_task_is_cancelled(extended_hub: Hub):
    async with raw_client(extended_hub.mcp_url, extended_hub.key, "modern") as client:
        task = {"taskId": (await ask(client, "tools/call", {"name": "here__slow", "arguments": {}}))["taskId"]}
        await ask(client, "tasks/cancel", task)
        assert (await ask(client, "tasks/get", task))["status"] == "cancelled"


@pytest.mark.requirement("P14")
async def test_task_is_its_principals_own(extended_hub: Hub):
    """Another principal's task, one that the server never gave and one on another route are all unknown."""
    other = extended_hub.manage_json("create_key", "other", "--org", "default", "--role", "owner")["key"]
    async with raw_client(extended_hub.mcp_url, extended_hub.key, "modern") as client:
        id_ = (await ask(client, "tools/call", {"name": "here__slow", "arguments": {}}))["taskId"]
    for url, key, held in (
        (extended_hub.mcp_url, other, id_),
        (extended_hub.mcp_url, extended_hub.key, "t-1"),
        (f"{extended_hub.url}/there/mcp", extended_hub.key, id_),
    ):
        async with raw_client(url, key, "modern") as stranger:
            for method in ("tasks/get", "tasks/cancel"):
                with pytest.raises(RpcFailed) as refused:
                    await ask(stranger, method, {"taskId": held})
                assert refused.value.error["code"] == -32602


@pytest.mark.requirement("P14")
async def test_client_without_the_extension_gets_no_task(extended_hub: Hub):
    async with raw_client(extended_hub.mcp_url, extended_hub.key, "modern") as client:
        answer = await client.call("here__slow")
    assert answer["isError"]
    assert "taskId" not in answer
