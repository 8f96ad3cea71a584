"""The official SDK client, in both eras, over both servers."""

import json
from typing import Any

import pytest
from mcp_types import ElicitRequestParams, ElicitResult

from tests.gateway.conftest import Edge
from tests.harness.clients import BOTH_ERAS, Mode, python_client


def text_of(result: Any) -> str:
    return str(result.content[0].text)


@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_official_client_lists_and_calls(edge: Edge, mode: Mode) -> None:
    async with python_client(edge.url, "alice-key", mode) as client:
        tools = await client.list_tools()
        result = await client.call_tool("echo", {"n": 12345678901234567890, "x": None})
    assert [tool.name for tool in tools.tools] == ["echo"]
    assert json.loads(text_of(result)) == {"n": 12345678901234567890, "x": None}


@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_progress_reaches_the_caller_in_order(edge: Edge, mode: Mode) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with python_client(edge.url, "alice-key", mode) as client:
        result = await client.call_tool("progress", {"steps": 3}, progress_callback=hear)
    assert text_of(result) == "done"
    assert heard == [1, 2, 3]


async def test_client_can_be_asked_in_the_middle_of_a_call(edge: Edge) -> None:
    async def answer(context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with python_client(edge.url, "alice-key", "legacy", elicitation_callback=answer) as client:
        result = await client.call_tool("ask", {})
    assert json.loads(text_of(result)) == {"action": "accept", "content": {"name": "Ada"}}
