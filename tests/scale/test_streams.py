"""Streams that are lost at one web process and asked for at the other."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Handshake
from tests.gateway.test_edge_resuming import Stream, messages, posted, resumed, until_said
from tests.scale.by_hand import gate_of, moved, session_at, told_first
from tests.scale.conftest import Pair


@pytest.mark.requirement("P15", "X6")
@pytest.mark.parametrize("first", [0, 1])
async def test_the_rest_of_a_lost_call_comes_live_at_the_other_process(
    pair: Pair, http: httpx.AsyncClient, first: int
) -> None:
    session = await session_at(http, pair.hubs[first])
    elsewhere = moved(session, pair.hubs[1 - first])
    with gate_of(pair) as gate:
        async with told_first(session, gate) as last, resumed(elsewhere, last) as stream:
            gate.open()
            assert messages(await stream.rest()) == [2, "passed"]


@pytest.mark.requirement("P15", "X6")
async def test_an_answer_that_nobody_took_is_given_at_either_process(pair: Pair, http: httpx.AsyncClient) -> None:
    session = await session_at(http, pair.hubs[0])
    with gate_of(pair) as gate:
        gate.open()
        async with posted(session, gate.call(session)) as stream:
            (primer,) = await until_said(stream, 1)
        for hub in (*pair.hubs, *pair.hubs):
            async with resumed(moved(session, hub), primer.id) as stream:
                assert messages(await stream.rest()) == [1, 2, "passed"]


@pytest.mark.requirement("P15", "X6")
async def test_a_lost_call_follows_its_client_from_process_to_process(pair: Pair, http: httpx.AsyncClient) -> None:
    home = await session_at(http, pair.hubs[0])
    away = moved(home, pair.hubs[1])
    with gate_of(pair) as gate:
        async with (
            told_first(home, gate) as last,
            resumed(away, last) as second,
            resumed(home, last) as third,
        ):
            assert await second.rest() == []
            async with resumed(away, last) as fourth:
                assert await third.rest() == []
                gate.open()
                assert messages(await fourth.rest()) == [2, "passed"]


@pytest.mark.requirement("P15", "P7", "X6")
async def test_the_question_of_a_lost_call_is_asked_and_answered_at_the_other_process(
    pair: Pair, http: httpx.AsyncClient
) -> None:
    home = await session_at(http, pair.hubs[0], elicitation={})
    away = moved(home, pair.hubs[1])
    async with posted(home, home.message("asking__colours", {}, "done")) as stream:
        (primer,) = await until_said(stream, 1)
    async with resumed(away, primer.id) as stream:
        for number, at in ((0, home), (1, away)):
            question = (await until_said(stream, number + 1))[-1]
            assert question.data["params"]["message"] == f"Colour {number}?"
            answer = {"action": "accept", "content": {"colour": f"c{number}"}}
            await at.send({"jsonrpc": "2.0", "id": question.data["id"], "result": answer})
        (end,) = await rest_of(stream)
    assert end.data["result"]["content"][0]["text"] == "c0, c1"


@pytest.mark.requirement("P15", "X6")
async def test_what_a_session_was_told_while_away_is_told_at_the_other_process(
    pair: Pair, http: httpx.AsyncClient
) -> None:
    path = "/telling/mcp"
    home = await session_at(http, pair.hubs[0], path)
    away = moved(home, pair.hubs[1], path)
    uri = {"uri": "news://a"}
    subscribe = {"jsonrpc": "2.0", "id": "s", "method": "resources/subscribe", "params": uri}
    assert (await home.send(subscribe)).json()["result"] == {}

    async def touch(at: Handshake) -> None:
        assert (await at.call("touch", uri)).json()["result"]["content"]

    async def told(stream: Stream, count: int) -> str:
        said = await until_said(stream, count)
        assert [each.data["params"] for each in said] == [uri] * count
        return said[-1].id

    async with home.client.stream("GET", home.path, headers=home.headers) as response:
        await touch(away)
        last = await told(Stream(response.aiter_lines()), 1)
    for at, other in ((away, home), (home, away), (home, home)):
        await touch(other)
        async with resumed(at, last) as stream:
            await told(stream, 1)
            await touch(other)
            last = await told(stream, 2)
    await home.client.delete(home.path, headers=home.headers)


@pytest.mark.requirement("P15", "P6", "X6")
async def test_event_ids_of_others_and_forged_ones_open_nothing_at_the_other_process(
    pair: Pair, http: httpx.AsyncClient
) -> None:
    home, stranger = await session_at(http, pair.hubs[0]), await session_at(http, pair.hubs[0])
    away = moved(home, pair.hubs[1])
    with gate_of(pair) as gate:
        async with told_first(home, gate) as last:
            token = last.partition(".")[0]
            for session, named, status in (
                (moved(stranger, pair.hubs[1]), last, 400),
                (away, f"{token[:-2]}xx.1", 400),
                (away, token, 400),
                (away, f"{token}.999", 404),
            ):
                async with resumed(session, named, status):
                    pass
            gate.open()
            async with resumed(away, last) as stream:
                assert messages(await stream.rest()) == [2, "passed"]


async def rest_of(stream: Stream) -> list[Any]:
    async with asyncio.timeout(20):
        return await stream.rest()
