"""Handshake sessions over the wire."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Edge, Handshake, call, events, eventually, post, seen, serve, text_of


async def rest_of(lines: AsyncIterator[str]) -> list[Any]:
    """The messages until the stream ends."""
    return events("\n".join([line async for line in lines]))


async def next_event(lines: AsyncIterator[str]) -> Any:
    async for line in lines:
        if line.startswith("data: "):
            return json.loads(line[6:])
    raise AssertionError("the stream ended")


@asynccontextmanager
async def get_stream(session: Handshake) -> AsyncIterator[AsyncIterator[str]]:
    """The session's GET stream, open."""
    async with session.client.stream("GET", session.path, headers=session.headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream"
        lines = stream.aiter_lines()
        assert await anext(lines) == ": open"
        yield lines


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_every_handshake_revision_is_spoken(client: httpx.AsyncClient, revision: str) -> None:
    session = await Handshake(client).open(revision, roots={})
    assert (await session.notify("notifications/initialized")).status_code == 202
    facts = text_of(await session.send(session.message("request", progressToken=3, vendor=[1])))
    assert facts["session"]
    assert facts == facts | {
        "era": "handshake",
        "revision": revision,
        "client": {"name": "by-hand", "version": "1"},
        "capabilities": {"roots": {}},
        "params": {"name": "request", "arguments": {}, "_meta": {"vendor": [1]}},
        "token": 3,
    }


@pytest.mark.parametrize("asked", ["2023-01-01", "2026-07-28", "2030-01-01", "latest"])
async def test_unknown_revisions_are_offered_the_newest(client: httpx.AsyncClient, asked: str) -> None:
    session = await Handshake(client).open(asked)
    assert session.headers["mcp-protocol-version"] == "2025-11-25"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"protocolVersion": "2025-06-18"},
        {"protocolVersion": 1, "capabilities": {}, "clientInfo": {}},
        {"protocolVersion": "2025-06-18", "capabilities": [], "clientInfo": {}},
        {"protocolVersion": "2025-06-18", "capabilities": {"x": "y" * 70_000}, "clientInfo": {}},
    ],
    ids=range(5),
)
async def test_malformed_greetings_are_refused(client: httpx.AsyncClient, params: dict[str, Any]) -> None:
    answer = await Handshake(client).send({"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": params})
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["id"]) == (400, -32602, 9)
    assert "mcp-session-id" not in answer.headers


async def test_nothing_but_initialize_works_without_a_session(client: httpx.AsyncClient) -> None:
    session = Handshake(client)
    assert (await session.call("whoami")).status_code == 400
    assert (await session.notify("notifications/initialized")).status_code == 400
    assert (await client.get("/mcp", headers=session.headers)).status_code == 400
    assert (await client.delete("/mcp", headers=session.headers)).status_code == 400


@pytest.mark.requirement("P6")
async def test_strangers_unknown_and_ended_sessions_are_the_same_404(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    ended = await Handshake(client).open()
    assert (await client.delete("/mcp", headers=ended.headers)).status_code == 204
    answers = [await ended.call("whoami")]
    for key, path, id_ in (
        ("bob-key", "/mcp", session.headers["mcp-session-id"]),
        ("alice-elsewhere", "/mcp", session.headers["mcp-session-id"]),
        ("alice-key", "/mcp/default", session.headers["mcp-session-id"]),
        ("alice-key", "/mcp", "unknown"),
        ("alice-key", "/mcp", session.headers["mcp-session-id"][:-2] + "xx"),
    ):
        stranger = Handshake(client, key, path)
        stranger.headers["mcp-session-id"] = id_
        answers.append(await stranger.call("whoami"))
        assert (await client.delete(path, headers=stranger.headers)).status_code == 404
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert text_of(await session.call("whoami")) == "Alice"


async def test_session_ids_are_visible_ascii_and_tell_nothing(client: httpx.AsyncClient) -> None:
    one, other = await Handshake(client).open(), await Handshake(client).open()
    for session in (one, other):
        id_ = session.headers["mcp-session-id"]
        assert set(id_) <= set(map(chr, range(0x21, 0x7F)))
    assert one.headers["mcp-session-id"][:30] != other.headers["mcp-session-id"][:30]


@pytest.mark.requirement("P6")
async def test_another_process_serves_the_session_and_learns_of_its_end(
    edge: Edge, client: httpx.AsyncClient
) -> None:
    data_dir = edge.process.log.parent
    session = await Handshake(client).open(sampling={})
    with contextmanager(serve)("uvicorn", data_dir, "second.log") as second:
        async with httpx.AsyncClient(base_url=second.url.removesuffix("/mcp"), trust_env=False) as elsewhere:
            same = Handshake(elsewhere)
            same.headers = session.headers
            facts = text_of(await same.call("request"))
            assert facts["capabilities"] == {"sampling": {}}
            assert facts["session"] == text_of(await session.call("request"))["session"]
            await client.delete("/mcp", headers=session.headers)

            async def gone() -> bool:
                return (await same.call("whoami")).status_code == 404

            await eventually(gone, within=5)


async def test_notifications_come_through_the_get_stream(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    assert text_of(await session.call("push")) is False
    async with get_stream(session) as lines:
        assert text_of(await session.call("push")) is True
        assert (await next_event(lines))["method"] == "notifications/tools/list_changed"


async def test_a_new_stream_replaces_the_old_one(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with get_stream(session) as old, get_stream(session) as new:
        assert await rest_of(old) == []
        assert text_of(await session.call("push")) is True
        assert (await next_event(new))["method"] == "notifications/tools/list_changed"


async def test_the_stream_is_kept_alive_and_ends_with_its_session(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with asyncio.timeout(6), get_stream(session) as lines:
        while await anext(lines) != ": keep-alive":
            pass
        await client.delete("/mcp", headers=session.headers)
        assert await rest_of(lines) == []


async def test_a_stream_whose_client_left_takes_nothing(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with get_stream(session):
        pass

    async def closed() -> bool:
        return text_of(await session.call("push")) is False

    await eventually(closed)


async def test_f37_the_stream_ends_when_its_key_is_revoked(client: httpx.AsyncClient) -> None:
    session = await Handshake(client, "bob-key").open()
    try:
        async with asyncio.timeout(30), get_stream(session) as lines:
            await post(client, call("revoke", {"key": "bob-key"}))
            assert await rest_of(lines) == []
        assert (await session.call("whoami")).status_code == 401
    finally:
        await post(client, call("restore"))


@pytest.mark.requirement("P18")
async def test_cancelling_by_notification_ends_the_call(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    waiting = asyncio.create_task(session.call("wait", id_="c1"))
    await asyncio.sleep(0.2)
    await session.notify("notifications/cancelled", requestId="c1", reason="enough")
    answer = await waiting
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32800)
    assert "c1" in (await seen(client))["cancelled"]
    assert text_of(await session.call("whoami")) == "Alice"


async def test_only_the_own_session_can_cancel(client: httpx.AsyncClient) -> None:
    one, other = await Handshake(client).open(), await Handshake(client).open()
    running = asyncio.create_task(one.call("echo", {"pause": 0.5}, id_=77))
    await asyncio.sleep(0.1)
    for session, id_ in ((other, 77), (one, "77"), (one, 78), (one, None)):
        assert (await session.notify("notifications/cancelled", requestId=id_)).status_code == 202
    assert text_of(await running) == {"pause": 0.5}


async def test_two_requests_of_one_id_are_not_cancelled_by_guess(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    running = [asyncio.create_task(session.call("echo", {"pause": 0.5, "n": n})) for n in (1, 2)]
    await asyncio.sleep(0.1)
    await session.notify("notifications/cancelled", requestId=1)
    assert [text_of(await one)["n"] for one in running] == [1, 2]


async def test_f43_a_client_that_leaves_has_not_cancelled(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    arguments = {"events": 3, "bytes": 10, "pause": 0.8}
    for id_ in ("stays", "stays-too"):
        leaving = asyncio.create_task(session.call("flood", arguments, id_=id_))
        await asyncio.sleep(0.2)
        leaving.cancel()

    async def finished() -> bool:
        now = await seen(client)
        return {"stays", "stays-too"} <= set(now["finished"]) and not {"stays"} & set(now["cancelled"])

    await eventually(finished)


async def test_f41_fifty_requests_with_one_id_in_two_sessions(client: httpx.AsyncClient) -> None:
    sessions = [await Handshake(client).open(), await Handshake(client, "bob-key").open()]
    calls = [sessions[n % 2].call("echo", {"n": n, "pause": 0.1 * (n % 3)}) for n in range(50)]
    assert [text_of(answer)["n"] for answer in await asyncio.gather(*calls)] == list(range(50))


async def test_a_modern_method_does_not_exist_here(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    answer = await session.send({"jsonrpc": "2.0", "id": 4, "method": "server/discover"})
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["id"]) == (200, -32601, 4)


async def asked(session: Handshake, lines: AsyncIterator[str]) -> str:
    question = await next_event(lines)
    assert question["method"] == "elicitation/create"
    return str(question["id"])


@pytest.mark.requirement("P7")
async def test_only_the_asked_session_can_answer(client: httpx.AsyncClient) -> None:
    session, stranger = await Handshake(client).open(), await Handshake(client, "bob-key").open()
    accept = {"action": "accept", "content": {"n": 1}}
    message = session.message("ask")
    async with client.stream("POST", "/mcp", json=message, headers=session.headers) as stream:
        lines = stream.aiter_lines()
        id_ = await asked(session, lines)
        forged = [id_, "1", 1, id_[:-1]]
        for one in forged:
            answer = await stranger.send({"jsonrpc": "2.0", "id": one, "result": accept})
            assert answer.status_code == 400
        assert (await session.send({"jsonrpc": "2.0", "id": id_, "result": accept})).status_code == 202
        assert (await session.send({"jsonrpc": "2.0", "id": id_, "result": {}})).status_code == 202
        (last,) = await rest_of(lines)
    assert json.loads(last["result"]["content"][0]["text"]) == accept


async def test_a_refusing_client_is_an_error_to_who_asked(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with client.stream("POST", "/mcp", json=session.message("ask"), headers=session.headers) as stream:
        lines = stream.aiter_lines()
        error = {"code": -32601, "message": "no"}
        await session.send({"jsonrpc": "2.0", "id": await asked(session, lines), "error": error})
        (last,) = await rest_of(lines)
    assert last["result"]["content"][0]["text"] == "error -32601"


async def test_a_cancelled_call_calls_its_question_off(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with client.stream("POST", "/mcp", json=session.message("ask"), headers=session.headers) as stream:
        lines = stream.aiter_lines()
        id_ = await asked(session, lines)
        await session.notify("notifications/cancelled", requestId=1)
        called_off, last = await rest_of(lines)
    assert (called_off["method"], called_off["params"]["requestId"]) == ("notifications/cancelled", id_)
    assert last["error"]["code"] == -32800


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26"])
async def test_batches_are_answered_together(client: httpx.AsyncClient, revision: str) -> None:
    session = await Handshake(client).open(revision)
    note = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
    messages = [session.message("echo", {"n": n, "pause": 0.1}, id_=n) for n in range(3)]
    discover = {"jsonrpc": "2.0", "id": 9, "method": "server/discover"}
    answer = await session.send([messages[0], note, *messages[1:], discover])
    assert answer.status_code == 200
    answered = {one["id"]: one for one in answer.json()}
    assert [json.loads(answered[n]["result"]["content"][0]["text"])["n"] for n in range(3)] == [0, 1, 2]
    assert answered[9]["error"]["code"] == -32601
    assert (await session.send([note])).status_code == 202
    assert "notifications/roots/list_changed" in (await seen(client))["notes"]


async def test_a_batch_with_progress_is_a_stream(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open("2025-03-26")
    one = session.message("progress", {"steps": 2, "pause": 0.1}, id_=1, progressToken="a")
    answer = await session.send([one, session.message("whoami", id_=2)])
    told = events(answer.text)
    assert sum(message.get("method") == "notifications/progress" for message in told) == 2
    assert {message["id"] for message in told if "id" in message} == {1, 2}


@pytest.mark.parametrize(
    "batch",
    [[], [1], [[]], [{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}], [{}] * 101],
    ids=range(5),
)
async def test_bad_batches_are_refused(client: httpx.AsyncClient, batch: Any) -> None:
    session = await Handshake(client).open("2025-03-26")
    answer = await session.send(batch)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)


async def test_later_revisions_have_no_batches(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open("2025-06-18")
    assert (await session.send([session.message("whoami")])).status_code == 400
