"""A server asks in the middle of a call, in all four combinations of eras."""

import asyncio
from typing import Any, Final

import pytest
from mcp import Client
from mcp_types import SamplingCapability, SamplingToolsCapability

from tests.bridge.conftest import Person, marks_of
from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.hub import Hub
from tests.harness.raw import ERAS, Era
from tests.harness.waiting import until

combinations: Final = [
    pytest.mark.parametrize("client", BOTH_ERAS),
    pytest.mark.parametrize("upstream", ERAS),
]


def in_all_combinations(test: Any) -> Any:
    for mark in combinations:
        test = mark(test)
    return pytest.mark.requirement("P5")(test)


def connected(hub: Hub, mode: Mode, person: Person) -> Any:
    return connected_at(hub.mcp_url, hub.key, mode, person)


def connected_at(url: str, key: str, mode: Mode, person: Person) -> Any:
    """A client at which `person` sits."""
    return python_client(
        url,
        key,
        mode,
        elicitation_callback=person.elicit,
        sampling_callback=person.sample,
        sampling_capabilities=SamplingCapability(tools=SamplingToolsCapability()),
        list_roots_callback=person.roots,
    )


async def said(client: Client, tool: str) -> str:
    result = await client.call_tool(tool, {})
    text: str = result.content[0].text  # type: ignore[union-attr]  # every tool here answers with text
    assert not result.is_error, text
    return text


@in_all_combinations
async def test_two_questions_of_one_call_are_answered(asking_hub: Hub, person: Person, client: Mode, upstream: Era):
    async with connected(asking_hub, client, person) as hub:
        assert await said(hub, f"{upstream}__colours") == "answer to Colour 0?, answer to Colour 1?"
    assert [params.message for params in person.asked] == ["Colour 0?", "Colour 1?"]


@in_all_combinations
async def test_a_declined_question_is_told_as_declined(asking_hub: Hub, person: Person, client: Mode, upstream: Era):
    person.action = "decline"
    async with connected(asking_hub, client, person) as hub:
        assert await said(hub, f"{upstream}__colours") == "decline, decline"


@in_all_combinations
async def test_a_page_to_open_is_shown(asking_hub: Hub, person: Person, client: Mode, upstream: Era):
    async with connected(asking_hub, client, person) as hub:
        assert await said(hub, f"{upstream}__page") == "accept"
    assert [params.url for params in person.asked] == ["https://example.test/consent"]


@in_all_combinations
@pytest.mark.parametrize(("tool", "answer"), [("think", "a word"), ("think_with_tools", "endTurn")])
async def test_the_clients_model_is_sampled(
    asking_hub: Hub, person: Person, client: Mode, upstream: Era, tool: str, answer: str
):
    async with connected(asking_hub, client, person) as hub:
        assert await said(hub, f"{upstream}__{tool}") == answer


@in_all_combinations
async def test_the_clients_roots_are_listed(asking_hub: Hub, person: Person, client: Mode, upstream: Era):
    async with connected(asking_hub, client, person) as hub:
        assert await said(hub, f"{upstream}__places") == "file:///work"


@in_all_combinations
async def test_a_prompt_asks_too(asking_hub: Hub, person: Person, client: Mode, upstream: Era):
    async with connected(asking_hub, client, person) as hub:
        found = await hub.get_prompt(f"{upstream}__greet")
    assert found.messages[0].content.text == "Greet answer to Whom?"  # type: ignore[union-attr]  # text by design


@pytest.mark.requirement("P5")
async def test_changed_roots_are_told_where_they_were_declared(asking_hub: Hub, person: Person):
    async with connected(asking_hub, "legacy", person) as asked, connected(asking_hub, "legacy", Person()) as other:
        await asked.call_tool("handshake__places", {})
        await other.call_tool("handshake__capabilities", {})
        before = marks_of(asking_hub).count("roots-changed")
        await asked.send_roots_list_changed()
        await asyncio.to_thread(until, "the news", lambda: marks_of(asking_hub).count("roots-changed") > before)
    async with python_client(asking_hub.mcp_url, asking_hub.key, "legacy") as rootless:
        await rootless.call_tool("handshake__capabilities", {})
        await rootless.send_roots_list_changed()
        await rootless.call_tool("handshake__capabilities", {})
    assert marks_of(asking_hub).count("roots-changed") == before + 1
