"""Two web processes behind plain round-robin: what cannot be in both is in one, and nobody notices."""

import asyncio
from typing import Any

import pytest
from mcp import Client

from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.proxy import round_robin
from tests.scale.conftest import Pair

CLIENTS = 8
CALLS = 150


def text_of(result: Any) -> str:
    assert not result.is_error, result
    return str(result.content[0].text)


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
    assert sorted(tallies) == list(range(1, len(tallies) + 1))
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
