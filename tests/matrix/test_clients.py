"""Every official client, and the usual ones, use what there is at upstreams of each kind through one endpoint."""

from typing import Any, Final, Literal

import fastmcp
import pytest
from fastmcp.client.transports import StreamableHttpTransport
from mcp_types import CreateMessageResult, ElicitResult, TextContent

from tests.harness import node
from tests.harness.clients import Mode, python_client
from tests.harness.hub import Hub
from tests.harness.raw import SIDES, Side
from tests.matrix.door import text

pytestmark = [pytest.mark.requirement("P4"), pytest.mark.requirement("P5")]

PYTHON: Final[tuple[Mode, ...]] = ("auto", "legacy", "2026-07-28")
TYPESCRIPT: Final = [("1", "", "2025-11-25"), ("2", "", ""), ("2", "2026-07-28", "2026-07-28")]
ROOT_URI: Final = "file:///srv/papers"
REPLIES: Final[dict[str, Any]] = {
    "elicitation/create": {"action": "accept", "content": {"colour": "red"}},
    "sampling/createMessage": {"role": "assistant", "model": "m", "content": {"type": "text", "text": "Paris"}},
    "roots/list": {"roots": [{"uri": ROOT_URI}]},
}


async def _choose(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"colour": "red"})


async def _think(context: Any, params: Any) -> CreateMessageResult:
    return CreateMessageResult(role="assistant", model="m", content=TextContent(type="text", text="Paris"))


@pytest.mark.parametrize("upstream", SIDES)
@pytest.mark.parametrize("mode", PYTHON)
async def test_python_sdk(hub: Hub, mode: Mode, upstream: Side):
    callbacks = {"elicitation_callback": _choose, "sampling_callback": _think}
    async with python_client(hub.mcp_url, hub.key, mode, **callbacks) as client:
        assert text(await client.call_tool(f"{upstream}__everything")) == f"text of {upstream}"
        assert text(await client.call_tool(f"{upstream}__ask_form")) == "accept {'colour': 'red'}"
        assert text(await client.call_tool(f"{upstream}__sample")) == "Paris"
        read = await client.read_resource(f"leaf://{upstream}/3")
        assert read.contents[0].text == "leaf 3"
        prompt = await client.get_prompt(f"{upstream}__greet", {"name": "Ada"})
        assert prompt.messages[0].content.text == f"Greet Ada, says {upstream}"


@pytest.mark.parametrize("upstream", SIDES)
@pytest.mark.parametrize(("sdk", "pin", "revision"), TYPESCRIPT)
def test_typescript_sdk(hub: Hub, sdk: Literal["1", "2"], pin: str, revision: str, upstream: Side):
    steps: list[tuple[str, dict[str, Any]]] = [
        ("callTool", {"name": f"{upstream}__everything", "arguments": {}}),
        ("callTool", {"name": f"{upstream}__ask_form", "arguments": {}}),
        ("callTool", {"name": f"{upstream}__sample", "arguments": {}}),
        ("callTool", {"name": f"{upstream}__roots", "arguments": {}}),
        ("readResource", {"uri": f"leaf://{upstream}/3"}),
        ("getPrompt", {"name": f"{upstream}__greet", "arguments": {"name": "Ada"}}),
    ]
    seen = node.typescript(sdk, hub.mcp_url, hub.key, steps, pin=pin, replies=REPLIES)
    assert seen.revision == revision or not revision
    assert all("result" in answer for answer in seen.answers), seen.answers
    *tools, read, prompt = (answer["result"] for answer in seen.answers)
    said = [tool["content"][0]["text"] for tool in tools]
    assert said == [f"text of {upstream}", "accept {'colour': 'red'}", "Paris", ROOT_URI]
    assert read["contents"][0]["text"] == "leaf 3"
    assert prompt["messages"][0]["content"]["text"] == f"Greet Ada, says {upstream}"
    assert [method for method, _ in seen.asked] == list(REPLIES)


@pytest.mark.parametrize("upstream", SIDES)
def test_inspector(hub: Hub, upstream: Side):
    def inspect(*arguments: str) -> Any:
        return node.inspector(hub.mcp_url, hub.key, "--method", *arguments)

    listed = {tool["name"] for tool in inspect("tools/list")["tools"]}
    assert f"{upstream}__everything" in listed
    called = inspect("tools/call", "--tool-name", f"{upstream}__everything")
    assert called["content"][0]["text"] == f"text of {upstream}"
    assert inspect("resources/read", "--uri", f"leaf://{upstream}/3")["contents"][0]["text"] == "leaf 3"
    prompt = inspect("prompts/get", "--prompt-name", f"{upstream}__greet", "--prompt-args", "name=Ada")
    assert prompt["messages"][0]["content"]["text"] == f"Greet Ada, says {upstream}"


@pytest.mark.parametrize("upstream", SIDES)
async def test_fastmcp(hub: Hub, upstream: Side):
    async def choose(message: str, shape: Any, params: Any, context: Any) -> dict[str, str]:
        return {"colour": "red"}

    async def think(messages: Any, params: Any, context: Any) -> str:
        return "Paris"

    transport = StreamableHttpTransport(hub.mcp_url, headers={"Authorization": f"Bearer {hub.key}"})
    client = fastmcp.Client(transport, elicitation_handler=choose, sampling_handler=think, roots=[ROOT_URI])
    async with client:
        assert f"{upstream}__everything" in {tool.name for tool in await client.list_tools()}
        said = [text(await client.call_tool(f"{upstream}__{name}")) for name in ("ask_form", "sample", "roots")]
        assert said == ["accept {'colour': 'red'}", "Paris", ROOT_URI]
        assert (await client.read_resource(f"leaf://{upstream}/3"))[0].text == "leaf 3"
        prompt = await client.get_prompt(f"{upstream}__greet", {"name": "Ada"})
        assert prompt.messages[0].content.text == f"Greet Ada, says {upstream}"
