"""Answers never cross, whatever ids the clients choose."""

import asyncio

import pytest

from tests.harness.hub import Hub
from tests.harness.raw import ERAS, Era, raw_client


@pytest.mark.requirement("X6")
@pytest.mark.parametrize("era", ERAS)
async def test_fifty_equal_ids_of_two_keys_get_their_own_answers(shared_hub: Hub, viewer_key: str, era: Era):
    async with (
        raw_client(shared_hub.mcp_url, shared_hub.key, era) as first,
        raw_client(shared_hub.mcp_url, viewer_key, era) as second,
    ):
        calls = [
            (f"{who}-{number}", client.call("sdk__echo", id=1, text=f"{who}-{number}"))
            for number in range(25)
            for who, client in (("first", first), ("second", second))
        ]
        answers = await asyncio.gather(*(call for _, call in calls))
    assert [answer["content"][0]["text"] for answer in answers] == [text for text, _ in calls]
