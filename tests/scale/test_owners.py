"""Two web processes behind plain round-robin: what cannot be in both is in one, and nobody notices."""

import asyncio
import json
from contextlib import AsyncExitStack
from itertools import product
from typing import Any, Final

import pytest
from mcp import Client
from mcp.client.subscriptions import ToolsListChanged
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import ElicitResult, ToolListChangedNotification

from tests.bridge.conftest import Person
from tests.bridge.test_questions import connected_at
from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.proxy import round_robin
from tests.harness.waiting import until
from tests.news.conftest import listener
from tests.scale.conftest import Pair, text_of

CLIENTS = 8
CALLS = 30
ASKING: Final = [*product(BOTH_ERAS, ("asking", "modern")), ("legacy", "both")]
"""Which client is asked by which server: one of both eras asks those of the handshake era alone."""


@pytest.mark.requirement("N5")
@pytest.mark.timeout(240)
async def test_mixed_calls_of_both_eras_over_one_child_process(pair: Pair) -> None:
    async with round_robin(*pair.ports) as (proxy, url):
        tallies: list[int] = []

        async def caller(number: int) -> None:
            mode: Mode = BOTH_ERAS[number % 2]
            async with python_client(f"{url}/mcp", pair.hubs[0].key, mode) as client:
                for turn in range(CALLS):
                    await one(client, number, turn, tallies)

        await asyncio.gather(*(caller(number) for number in range(CLIENTS)))
    assert sorted(tallies) == list(range(min(tallies), min(tallies) + CLIENTS * CALLS // 3))
    assert len(pair.starts()) == 1
    assert min(proxy.requests.values()) > CLIENTS * CALLS / 3


async def one(client: Client, number: int, turn: int, tallies: list[int]) -> None:
    if turn % 3 == 0:
        tallies.append(int(text_of(await client.call_tool("counting__tally", {}))))
    elif turn % 3 == 1:
        word = f"{number}-{turn}-" + "x" * (turn * 50)
        assert text_of(await client.call_tool("counting__echo", {"text": word})) == word
    else:
        steps: list[float] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            steps.append(progress)

        result = await client.call_tool("counting__count", {"to": 3}, progress_callback=note)
        assert text_of(result) == "3"
        assert steps == sorted(steps)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_cancellation_reaches_the_upstream_from_any_process(pair: Pair, mode: Mode) -> None:
    async with round_robin(*pair.ports) as (_, url):
        for _ in range(4):
            async with python_client(f"{url}/mcp", pair.hubs[0].key, mode) as client:
                before = pair.marks().count("began")
                waiting = asyncio.create_task(client.call_tool("counting__wait", {"seconds": 60}))
                await asyncio.to_thread(until, "the wait", lambda n=before: pair.marks().count("began") > n)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                await asyncio.to_thread(
                    until, "its end", lambda: pair.marks().count("cancelled") == pair.marks().count("began")
                )


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("mode", "upstream"), ASKING)
async def test_questions_and_their_answers_find_each_other(pair: Pair, mode: Mode, upstream: str) -> None:
    async with round_robin(*pair.ports) as (_, url):

        async def caller(number: int) -> None:
            async def elicit(context: Any, params: Any) -> ElicitResult:
                return ElicitResult(action="accept", content={"colour": f"{number} {params.message}"})

            async with python_client(f"{url}/mcp", pair.hubs[0].key, mode, elicitation_callback=elicit) as client:
                for _ in range(3):
                    told = text_of(await client.call_tool(f"{upstream}__colours", {}))
                    assert told == f"{number} Colour 0?, {number} Colour 1?"

        await asyncio.gather(*(caller(number) for number in range(4)))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("mode", "upstream"), ASKING)
async def test_pages_samples_and_roots_are_asked_for_from_any_process(pair: Pair, mode: Mode, upstream: str) -> None:
    wanted = {
        "page": "accept",
        "think": "a word",
        "think_with_tools": "endTurn",
        "places": "file:///work",
        "colours": "answer to Colour 0?, answer to Colour 1?",
    }
    async with round_robin(*pair.ports) as (_, url):
        for _ in range(3):
            async with connected_at(f"{url}/mcp", pair.hubs[0].key, mode, Person()) as client:
                for tool, answer in wanted.items():
                    assert text_of(await client.call_tool(f"{upstream}__{tool}", {})) == answer


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_changed_lists_are_told_on_streams_of_both_processes(pair: Pair, mode: Mode) -> None:
    async with round_robin(*pair.ports) as (_, url):
        heard = [asyncio.Event() for _ in range(4)]

        async def listener(number: int, ready: asyncio.Barrier) -> None:
            async def take(message: Any) -> None:
                if isinstance(message, ToolListChangedNotification):
                    heard[number].set()

            async with python_client(f"{url}/mcp", pair.hubs[0].key, mode, message_handler=take) as client:
                if mode == "legacy":
                    await client.list_tools()
                    await ready.wait()
                    await heard[number].wait()
                else:
                    async with client.listen(tools_list_changed=True) as news:
                        await ready.wait()
                        assert isinstance(await anext(aiter(news)), ToolsListChanged)

        ready = asyncio.Barrier(5)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(listener(number, ready))
            await ready.wait()
            async with python_client(f"{url}/mcp", pair.hubs[0].key, "2026-07-28") as client:
                assert text_of(await client.call_tool("counting__grow", {})) == "grown"
            await asyncio.to_thread(pair.hubs[0].manage, "refresh_catalogue", "counting")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_updates_of_resources_reach_watchers_at_both_processes(pair: Pair, mode: Mode) -> None:
    async with round_robin(*pair.ports) as (_, url), AsyncExitStack() as stack:
        endpoint, key = f"{url}/telling/mcp", pair.hubs[0].key
        watchers = [await stack.enter_async_context(listener(endpoint, key, mode)) for _ in range(4)]
        before = json.loads(await watchers[0].call("watched"))  # by sessions of other tests, which live on
        async with AsyncExitStack() as watching:
            for watcher in watchers:
                await watching.enter_async_context(watcher.listening("news://a"))
            await watchers[0].call("touch", uri="news://a")
            for watcher in watchers:
                await watcher.told.until(ResourceUpdated("news://a"))
        async with asyncio.timeout(30):
            while json.loads(await watchers[0].call("watched")) != before:
                await asyncio.sleep(0.05)
