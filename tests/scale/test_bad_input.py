"""What no client may send, at another process than it concerns: refused, counted, and harmless to everybody else."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.e2e.test_bad_input import INVALID_REQUEST, refusals
from tests.gateway.conftest import Handshake
from tests.gateway.test_edge_legacy import old_client
from tests.gateway.test_edge_resuming import posted, resumed, until_said
from tests.scale.by_hand import gate_of, moved, session_at, told_first
from tests.scale.conftest import Pair

ACCEPTED = {"action": "accept", "content": {"colour": "mine"}}


@contextmanager
def counted(pair: Pair, times: int) -> Iterator[None]:
    """Both processes together count so many more refusals by the end."""
    before = sum(refusals(hub, INVALID_REQUEST) for hub in pair.hubs)
    yield
    assert sum(refusals(hub, INVALID_REQUEST) for hub in pair.hubs) == before + times


async def refused(session: Handshake, message: Any, status: int) -> None:
    answer = await session.send(message)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, INVALID_REQUEST)


@pytest.mark.requirement("P7", "X6")
async def test_only_who_was_asked_answers_and_only_once(pair: Pair, http: httpx.AsyncClient, keys: list[str]) -> None:
    home = await session_at(http, pair.hubs[0], elicitation={})
    away = moved(home, pair.hubs[1])
    sister = await session_at(http, pair.hubs[1], elicitation={})
    stranger = await Handshake(http, keys[1], sister.path).open(elicitation={})
    async with posted(home, home.message("asking__colours", {}, "done")) as stream:
        for count in (2, 3):  # the first event is an empty one
            question = (await until_said(stream, count))[-1].data
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": ACCEPTED}
            with counted(pair, 4):
                for other in (sister, stranger):
                    await refused(other, answer, 400)
                    await refused(other, {**answer, "id": f"{question['id']}x"}, 400)
            for _ in range(2):
                assert (await away.send(answer)).status_code == 202
        end = (await stream.rest())[-1].data
    assert end["result"]["content"][0]["text"] == "mine, mine"
    assert (await away.send(answer)).status_code == 202, "nobody waits any more"


@pytest.mark.requirement("P8", "X6")
async def test_a_call_is_called_off_by_its_own_session_alone(
    pair: Pair, http: httpx.AsyncClient, keys: list[str]
) -> None:
    home = await session_at(http, pair.hubs[0])
    others = [
        await session_at(http, pair.hubs[1]),
        await Handshake(http, keys[1], f"{pair.hubs[1].url}/mcp").open(),
    ]
    with gate_of(pair) as gate:
        async with posted(home, gate.call(home)) as stream:
            await until_said(stream, 2)
            for session in (*others, moved(home, pair.hubs[1])):
                for id_ in ("passed", "nobody", 17, None, {"a": 1}):
                    if session in others or id_ != "passed":
                        assert (await session.notify("notifications/cancelled", requestId=id_)).status_code == 202
                progress = {"progressToken": "t", "progress": 7}
                assert (await session.notify("notifications/progress", **progress)).status_code == 202
                assert (await session.notify("notifications/unheard/of")).status_code == 202
            gate.open()
            assert (await stream.rest())[-1].data["result"]["content"][0]["text"] == "passed"


@pytest.mark.requirement("P6", "P15", "P16", "X6")
async def test_what_comes_for_sessions_and_streams_that_are_over_is_refused(
    pair: Pair, http: httpx.AsyncClient
) -> None:
    home = await session_at(http, pair.hubs[0])
    away = moved(home, pair.hubs[1])
    with gate_of(pair) as gate:
        async with told_first(home, gate) as last:
            await http.delete(home.path, headers=home.headers)
    async with asyncio.timeout(10):
        while (await away.notify("notifications/progress", progressToken="t", progress=1)).status_code == 202:
            continue
    note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "t", "progress": 1}}
    with counted(pair, 6):
        for session in (home, away):
            await refused(session, note, 404)
            await refused(session, {"jsonrpc": "2.0", "id": "late", "result": {}}, 404)
            async with resumed(session, last, 404):
                pass
    async with httpx.AsyncClient(base_url=pair.hubs[1].url, trust_env=False, timeout=20) as client:
        async with old_client(client, home.headers["authorization"][7:], f"{pair.hubs[0].url}/sse") as old:
            pass
        async with asyncio.timeout(10):
            while (await old.send(note)).status_code != 404:
                continue
        with counted(pair, 3):
            worker = old.endpoint.partition("=")[2][:16]
            for id_ in (worker + "x" * 32, "0" * 16 + "x" * 32, "../" * 16):
                answer = await client.post(f"/messages?session_id={id_}", json=note, headers=old.headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, INVALID_REQUEST)
