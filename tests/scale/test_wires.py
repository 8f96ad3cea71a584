"""Every wire and every method that changes a session, where the next message comes to another process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client
from websockets.asyncio.client import connect

from tests.bridge.conftest import Person
from tests.gateway.conftest import Handshake, eventually
from tests.gateway.test_edge_legacy import old_client
from tests.gateway.test_edge_resuming import Stream, posted, until_said
from tests.gateway.test_edge_websocket import Frames
from tests.harness.proxy import round_robin
from tests.scale.by_hand import gate_of, moved, session_at
from tests.scale.conftest import Pair, text_of

ANSWERS = {
    "counting__echo": "old",
    "asking__colours": "answer to Colour 0?, answer to Colour 1?",
    "modern__colours": "answer to Colour 0?, answer to Colour 1?",
    "asking__think": "a word",
    "modern__think": "a word",
    "asking__places": "file:///work",
    "modern__places": "file:///work",
}


def greeting(revision: str) -> dict[str, Any]:
    info = {"name": "by hand", "version": "1"}
    return {"protocolVersion": revision, "capabilities": {"elicitation": {}}, "clientInfo": info}


@pytest.mark.requirement("P16", "X6")
@pytest.mark.parametrize("first", [0, 1])
async def test_messages_reach_a_stream_of_2024_at_the_other_process(pair: Pair, first: int) -> None:
    home, away = pair.hubs[first], pair.hubs[1 - first]
    async with (
        httpx.AsyncClient(base_url=away.url, trust_env=False, timeout=20) as client,
        old_client(client, home.key, f"{home.url}/sse") as old,
    ):
        refused = await old.send({"jsonrpc": "2.0", "id": 0, "method": "ping"})
        assert refused.status_code == 202
        assert (await old.heard())["error"]["code"] == -32600
        await old.ask("initialize", greeting("2024-11-05"), "i")
        call = {"name": "counting__count", "arguments": {"to": 2}, "_meta": {"progressToken": "t"}}
        told = [await old.ask("tools/call", call, "c"), await old.heard(), await old.heard()]
        assert [message.get("params", {}).get("progress") for message in told] == [1, 2, None]
        nobody = await old.send({"jsonrpc": "2.0", "id": "nobody asked", "result": {}})
        assert (nobody.status_code, nobody.json()["error"]["code"]) == (400, -32600)
        stranger = await client.post(f"{old.endpoint}x", json={}, headers=old.headers)
        assert stranger.status_code == 404


@pytest.mark.requirement("P16", "P7", "X6")
@pytest.mark.parametrize("turn", [0, 1])
async def test_official_client_of_2024_is_served_and_asked_through_the_proxy(pair: Pair, turn: int) -> None:
    person = Person()
    async with (
        round_robin(*pair.ports) as (proxy, url),
        httpx.AsyncClient(trust_env=False) as other,
    ):
        for _ in range(turn):
            await other.get(f"{url}/live")
        async with (
            sse_client(f"{url}/sse", headers={"Authorization": f"Bearer {pair.hubs[0].key}"}) as (read, write),
            ClientSession(
                read,
                write,
                elicitation_callback=person.elicit,
                sampling_callback=person.sample,
                list_roots_callback=person.roots,
            ) as session,
        ):
            await session.initialize()
            for tool, answer in ANSWERS.items():
                arguments = {"text": "old"} if tool == "counting__echo" else {}
                assert text_of(await session.call_tool(tool, arguments)) == answer
        assert min(proxy.requests.values()) > 2


@asynccontextmanager
async def sockets(url: str, key: str, count: int) -> AsyncIterator[list[Frames]]:
    """Conversations over WebSocket, each at the next process."""
    headers = {"Authorization": f"Bearer {key}"}
    if count == 0:
        yield []
        return
    async with connect(url.replace("http", "ws"), additional_headers=headers, proxy=None) as connection:
        frames = Frames(connection)
        await frames.ask("initialize", greeting("2025-11-25"), 0)
        async with sockets(url, key, count - 1) as others:
            yield [frames, *others]


@pytest.mark.requirement("P21", "P7", "P12", "P18", "X6")
async def test_websockets_at_either_process_reach_everything(pair: Pair) -> None:
    async with (
        round_robin(*pair.ports) as (proxy, url),
        sockets(f"{url}/mcp", pair.hubs[0].key, 2) as both,
    ):
        assert [*proxy.requests.values()] == [1, 1]
        for number, frames in enumerate(both):
            await every_kind_of_message(frames, number, pair)
        for frames in both:
            assert (await frames.ask("resources/subscribe", {"uri": "news://a"}, "s"))["result"] == {}
        await both[0].send(call("telling__touch", {"uri": "news://a"}))
        first = [await both[0].heard(), await both[0].heard()]
        updated = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "news://a"}}
        assert updated in first
        assert await both[1].heard() == updated


def call(tool: str, arguments: dict[str, Any], id_: Any = 1) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "t"}}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


async def every_kind_of_message(frames: Frames, number: int, pair: Pair) -> None:
    """A call, questions in the middle of one, and one that is called off."""
    echoed = await frames.call("counting__echo", text=f"socket {number}")
    assert echoed["result"]["content"][0]["text"] == f"socket {number}"
    await frames.send(call("asking__colours", {}, "ask"))
    asked = 0
    while "result" not in (message := await frames.heard()):
        if message["method"] == "elicitation/create":
            answer = {"action": "accept", "content": {"colour": f"{number}{asked}"}}
            await frames.send({"jsonrpc": "2.0", "id": message["id"], "result": answer})
            asked += 1
    assert message["result"]["content"][0]["text"] == f"{number}0, {number}1"
    with gate_of(pair) as gate:
        await frames.send(call("counting__pass_gate", {"gate": gate.name}, "wait"))
        assert (await frames.heard())["method"] == "notifications/progress"
        cancelled = {"requestId": "wait"}
        await frames.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        assert (await frames.heard())["error"]["code"] == -32800
        await eventually_marked(pair, f"ended-{gate.name}")


async def eventually_marked(pair: Pair, mark: str) -> None:
    async def marked() -> bool:
        return mark in pair.marks()

    await eventually(marked, 10)


@pytest.mark.requirement("P18", "X6")
async def test_a_log_level_holds_at_both_processes(pair: Pair, http: httpx.AsyncClient) -> None:
    home = await session_at(http, pair.hubs[0])
    away = moved(home, pair.hubs[1])

    async def set_level(at: Handshake, level: str) -> None:
        message = {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}}
        assert (await at.send(message)).json()["result"] == {}

    async def hears_info(at: Handshake, expected: bool) -> bool:
        answer = await at.call("telling__say", {"level": "info", "text": "said"})
        return ("notifications/message" in answer.text) is expected

    for asking, level in ((home, "info"), (away, "error"), (home, "debug"), (away, "warning")):
        await set_level(asking, level)
        for at in (home, away):
            await eventually(partial(hears_info, at, level in ("info", "debug")))


@pytest.mark.requirement("P6", "X6")
@pytest.mark.parametrize("first", [0, 1])
async def test_an_ended_session_is_over_at_both_processes(pair: Pair, http: httpx.AsyncClient, first: int) -> None:
    home = await session_at(http, pair.hubs[first])
    away = moved(home, pair.hubs[1 - first])
    with gate_of(pair) as gate:
        async with (
            http.stream("GET", home.path, headers=home.headers) as news,
            posted(home, gate.call(home)) as working,
        ):
            assert len(await until_said(working, 2)) == 2
            assert (await http.delete(away.path, headers=away.headers)).status_code == 204
            async with asyncio.timeout(20):
                assert [told.data for told in await Stream(news.aiter_lines()).rest()] == []
                assert (await working.rest())[-1].data["error"]["code"] == -32800
            await eventually_marked(pair, f"ended-{gate.name}")
    for at in (home, away):
        answer = await at.call("counting__tally")
        assert answer.status_code == 404
        assert (await http.get(at.path, headers=at.headers)).status_code == 404
        assert (await http.delete(at.path, headers=at.headers)).status_code == 404


@pytest.mark.requirement("P6", "X6")
async def test_session_ids_of_others_and_forged_ones_open_nothing_at_either_process(
    pair: Pair, http: httpx.AsyncClient, keys: list[str]
) -> None:
    session = await session_at(http, pair.hubs[0])
    own = session.headers["mcp-session-id"]
    for hub in pair.hubs:
        for path, changed in (
            ("/mcp", {"authorization": f"Bearer {keys[1]}"}),
            ("/mcp/default", {}),
            ("/mcp", {"mcp-session-id": own[:-2] + "xx"}),
            ("/mcp", {"mcp-session-id": "17"}),
        ):
            stranger = moved(session, hub, path)
            stranger.headers = {**session.headers, **changed}
            answer = await stranger.call("counting__tally")
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Session not found")
            assert (await http.delete(stranger.path, headers=stranger.headers)).status_code == 404
        assert (await moved(session, hub).call("counting__echo", {"text": "mine"})).status_code == 200
