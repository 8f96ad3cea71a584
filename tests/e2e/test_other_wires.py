"""The older wire and the newest one reach the same upstreams, through the same policy."""

import json
from typing import Literal

import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.harness import node
from tests.harness.hub import Hub

GREETING = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "frames", "version": "1"}}


@pytest.mark.requirement("P16")
async def test_python_client_over_http_and_sse(shared_hub: Hub, viewer_key: str):
    for key, expected in ((shared_hub.key, True), (viewer_key, False)):
        async with (
            sse_client(f"{shared_hub.url}/sse", headers={"Authorization": f"Bearer {key}"}) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            result = await session.call_tool("sdk__echo", {"text": "old"})
        assert "sdk__echo" in names
        assert ("sdk__mark" in names) is expected
        assert result.content[0].text == "old"


@pytest.mark.requirement("P16")
@pytest.mark.parametrize("sdk", ["1", "2"])
@pytest.mark.parametrize(("path", "tool"), [("/sse", "sdk__echo"), ("/sdk/sse", "echo")])
def test_typescript_client_over_http_and_sse(shared_hub: Hub, sdk: Literal["1", "2"], path: str, tool: str):
    steps = [("listTools", {}), ("callTool", {"name": tool, "arguments": {"text": "hi"}})]
    listed, echoed = node.typescript(sdk, f"{shared_hub.url}{path}", shared_hub.key, steps).answers
    assert tool in {each["name"] for each in listed["result"]["tools"]}
    assert echoed["result"]["content"] == [{"type": "text", "text": "hi"}]


@pytest.mark.requirement("P21")
@pytest.mark.parametrize(("path", "tool"), [("/mcp", "sdk__count"), ("/mcp/default/sdk", "count")])
async def test_a_call_with_progress_over_websocket(shared_hub: Hub, path: str, tool: str):
    url = shared_hub.url.replace("http", "ws") + path
    call = {"name": tool, "arguments": {"to": 2}, "_meta": {"progressToken": 1}}
    async with connect(url, additional_headers={"X-API-Key": shared_hub.key}, proxy=None) as connection:
        for id_, method, params in ((1, "initialize", GREETING), (2, "tools/call", call)):
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}))
        heard = [json.loads(await connection.recv()) for _ in range(4)]
    assert heard[0]["result"]["protocolVersion"] == "2025-11-25"
    assert [message["params"]["progress"] for message in heard[1:3]] == [1, 2]
    assert heard[3]["result"]["content"][0]["text"] == "2"


@pytest.mark.requirement("P21", "S3")
@pytest.mark.parametrize("path", ["/mcp", "/", "/admin/"])
async def test_no_websocket_without_a_key_or_elsewhere(shared_hub: Hub, path: str):
    with pytest.raises(InvalidStatus) as refused:
        async with connect(shared_hub.url.replace("http", "ws") + path, proxy=None):
            pass
    assert refused.value.response.status_code == (401 if path == "/mcp" else 403)
