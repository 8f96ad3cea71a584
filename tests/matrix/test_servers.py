"""Servers that others wrote, over each transport, reached by clients of both eras."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from mcp_types import ElicitResult

from tests.harness import node
from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.hub import Hub, servers_file
from tests.harness.upstreams import everything_http, everything_stdio, example_http
from tests.matrix.door import text

EVERYTHING: Final = ("everything-stdio", "everything-http", "everything-sse")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with server-everything over each transport, a server on the TypeScript SDK 2.x, and examples of 1.x."""
    folder = tmp_path_factory.mktemp("servers")
    program, *arguments = node.server()
    with (
        everything_http(folder) as http,
        everything_http(folder, "sse") as sse,
        example_http(folder, "simpleStreamableHttp") as simple,
        example_http(folder, "elicitationFormExample") as forms,
        Hub(folder / "hub") as hub,
    ):
        servers: dict[str, dict[str, Any]] = {
            "everything-stdio": everything_stdio(),
            "everything-http": {"url": http},
            "everything-sse": {"url": sse},
            "typescript": {"command": program, "args": arguments},
            "simple": {"url": simple},
            "forms": {"url": forms},
            "weather": {"command": program, "args": node.example("mcpServerOutputSchema")[1:]},
            "progress": {"command": program, "args": node.example("progressExample")[1:]},
        }
        yield hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*servers)


@pytest.mark.requirement("U1", "U2", "U3")
@pytest.mark.parametrize("upstream", EVERYTHING)
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_everything_over_each_transport(served: Hub, mode: Mode, upstream: str):
    heard: list[float] = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    async with python_client(served.mcp_url, served.key, mode) as client:
        assert text(await client.call_tool(f"{upstream}__echo", {"message": "grüezi"})) == "Echo: grüezi"
        long = {"duration": 0.2, "steps": 2}
        await client.call_tool(f"{upstream}__trigger-long-running-operation", long, progress_callback=note)
        prompt = await client.get_prompt(f"{upstream}__simple-prompt")
        resources = (await client.list_resources()).resources
        mine = next(each for each in resources if str(each.uri).startswith(f"hub+{upstream}:"))
        assert (await client.read_resource(str(mine.uri))).contents[0].uri == mine.uri
    assert heard == [1, 2]
    assert prompt.messages


@pytest.mark.requirement("P5")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_typescript_server(served: Hub, mode: Mode):
    async def choose(context: Any, params: Any) -> ElicitResult:
        assert params.message == "Which colour?"
        return ElicitResult(action="accept", content={"colour": "red"})

    async with python_client(served.mcp_url, served.key, mode, elicitation_callback=choose) as client:
        assert text(await client.call_tool("typescript__echo", {"text": "grüezi"})) == "grüezi"
        assert text(await client.call_tool("typescript__ask")) == "likes red"
        assert (await client.read_resource("note://typescript")).contents[0].text == "A note."
        prompt = await client.get_prompt("typescript__greet", {"name": "Ada"})
        assert prompt.messages[0].content.text == "Greet Ada."


@pytest.mark.requirement("P5")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_examples_of_the_typescript_sdk(served: Hub, mode: Mode):
    """They answer with content of their schema, report progress, and ask on the session's own stream."""
    heard: list[float] = []

    async def register(context: Any, params: Any) -> ElicitResult:
        assert params.message == "Please provide your registration information:"
        return ElicitResult(
            action="accept", content={"username": "ada", "email": "ada@example.org", "password": "x" * 9}
        )

    async def note(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    async with python_client(served.mcp_url, served.key, mode, elicitation_callback=register) as client:
        assert text(await client.call_tool("simple__greet", {"name": "Ada"})) == "Hello, Ada!"
        prompt = await client.get_prompt("simple__greeting-template", {"name": "Ada"})
        assert "Ada" in prompt.messages[0].content.text
        files = (await client.call_tool("simple__list-files", {})).content
        read = await client.read_resource(next(each.uri for each in files if each.type == "resource_link"))
        assert read.contents[0].text
        weather = await client.call_tool("weather__get_weather", {"city": "Zurich", "country": "CH"})
        assert {"temperature", "conditions"} <= weather.structured_content.keys()
        await client.call_tool("progress__count", {"n": 3}, progress_callback=note)
        assert "Username: ada" in text(await client.call_tool("forms__register_user"))
    assert heard == [1, 2, 3]
