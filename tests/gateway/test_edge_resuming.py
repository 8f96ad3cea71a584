"""Handshake streams that a client can come back to: `Last-Event-ID`, and streams that the hub closes itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Handshake, eventually, post, serve, text_of
from tests.gateway.conftest import call as modern_call

SLOW = {"steps": 3, "pause": 1.0}


@dataclass
class Told:
    """One event: `data` is a message, or None."""

    id: str
    data: Any
    retry: str = ""


@dataclass
class Stream:
    """The events of one response, read bit by bit."""

    lines: AsyncIterator[str]
    seen: list[Told] = field(default_factory=list)

    async def events(self) -> AsyncIterator[Told]:
        fields: dict[str, str] = {}
        async for line in self.lines:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.strip()
            elif not line and "data" in fields:
                data = fields["data"]
                self.seen.append(
                    Told(fields.get("id", ""), json.loads(data) if data else None, fields.get("retry", ""))
                )
                fields = {}
                yield self.seen[-1]

    async def rest(self) -> list[Told]:
        """Every event until the stream ends."""
        return [told async for told in self.events()]


@asynccontextmanager
async def posted(session: Handshake, message: Any) -> AsyncIterator[Stream]:
    async with session.client.stream("POST", session.path, json=message, headers=session.headers) as response:
        assert response.headers["content-type"] == "text/event-stream"
        yield Stream(response.aiter_lines())


@asynccontextmanager
async def resumed(session: Handshake, last: str, status: int = 200) -> AsyncIterator[Stream]:
    headers = {**session.headers, "last-event-id": last}
    async with session.client.stream("GET", session.path, headers=headers) as response:
        assert response.status_code == status
        yield Stream(response.aiter_lines())


async def until_said(stream: Stream, count: int) -> list[Told]:
    """The first `count` events."""
    async for _ in stream.events():
        if len(stream.seen) == count:
            break
    return stream.seen


def progress(session: Handshake, id_: Any = "p") -> dict[str, Any]:
    return session.message("progress", SLOW, id_, progressToken="t")


def messages(told: list[Told]) -> list[Any]:
    """Progress as its number, the answer as its id."""
    said = [each.data for each in told if each.data is not None]
    return [each["params"]["progress"] if "params" in each else each["id"] for each in said]


@pytest.mark.requirement("P15")
@pytest.mark.parametrize(("revision", "primed"), [("2025-06-18", False), ("2025-11-25", True)])
async def test_every_event_has_an_id_and_polling_clients_get_one_first(
    client: httpx.AsyncClient, revision: str, primed: bool
) -> None:
    session = await Handshake(client).open(revision)
    async with posted(session, progress(session)) as stream:
        told = await stream.rest()
    assert messages(told) == [1, 2, 3, "p"]
    assert (told[0].data is None) is primed
    assert bool(told[0].retry) is primed
    ids = [each.id for each in told]
    assert all(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.requirement("P15")
@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_client_that_lost_its_call_gets_the_rest_of_it(client: httpx.AsyncClient, revision: str) -> None:
    session = await Handshake(client).open(revision)
    async with posted(session, progress(session)) as stream:
        told = await until_said(stream, 2)
    async with resumed(session, told[-1].id) as stream:
        rest = await stream.rest()
    assert messages([*told, *rest]) == [1, 2, 3, "p"]


@pytest.mark.requirement("P15")
async def test_an_answer_that_nobody_took_is_kept(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with posted(session, progress(session, "kept")) as stream:
        (first,) = await until_said(stream, 1)
    for _ in range(2):
        async with resumed(session, first.id) as stream:
            assert messages(await stream.rest()) == [1, 2, 3, "kept"]


@pytest.mark.requirement("P15")
async def test_a_stream_moves_to_who_asks_last(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with posted(session, progress(session)) as old:
        (first,) = await until_said(old, 1)
        async with resumed(session, first.id) as second, resumed(session, first.id) as third:
            assert messages(await third.rest()) == [1, 2, 3, "p"]
            assert "p" not in messages(await second.rest())


@pytest.mark.requirement("P15", "P7")
async def test_the_question_of_a_lost_stream_can_still_be_answered(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with posted(session, session.message("ask", {}, "a")) as stream:
        (first,) = await until_said(stream, 1)
    async with resumed(session, first.id) as stream:
        (question,) = await until_said(stream, 1)
        await session.send({"jsonrpc": "2.0", "id": question.data["id"], "result": {"action": "cancel"}})
        (answer,) = await stream.rest()
    assert json.loads(answer.data["result"]["content"][0]["text"]) == {"action": "cancel"}


@pytest.mark.requirement("P15")
async def test_missed_news_are_said_again(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()

    async def pushed() -> bool:
        return bool(text_of(await session.call("push")))

    async with session.client.stream("GET", session.path, headers=session.headers) as response:
        stream = Stream(response.aiter_lines())
        await eventually(pushed)
        await eventually(pushed)
        one, other = await until_said(stream, 2)
    async with resumed(session, one.id) as stream:
        (again,) = await until_said(stream, 1)
        assert again == other
        await eventually(pushed)
        newer = (await until_said(stream, 2))[-1]
    assert newer.id not in (one.id, other.id)


@pytest.mark.requirement("P15", "P6")
async def test_event_ids_of_others_and_forged_ones_open_nothing(client: httpx.AsyncClient) -> None:
    one, other = await Handshake(client).open(), await Handshake(client).open()
    async with posted(one, progress(one)) as stream:
        (first,) = await until_said(stream, 1)
        token = first.id.partition(".")[0]
        for session, last in (
            (other, first.id),
            (one, token),
            (one, f"{token[:-2]}xx.0"),
            (one, f"{token}.-1"),
            (one, f"{token}.{'9' * 40}"),
            (one, "17"),
        ):
            async with resumed(session, last, 400):
                pass
        async with resumed(one, f"{token}.999", 404):
            pass
        assert messages(await stream.rest()) == [1, 2, 3, "p"]


@pytest.mark.requirement("P15")
async def test_what_is_kept_of_a_stream_is_bounded(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open("2025-06-18")
    flood = session.message("flood", {"events": 60, "bytes": 10_000}, "f")
    async with posted(session, flood) as stream:
        told = await stream.rest()
    assert len(told) == 61
    async with resumed(session, told[0].id, 404):
        pass
    async with resumed(session, told[-3].id) as stream:
        assert await stream.rest() == told[-2:]


async def test_what_is_kept_goes_with_its_session(client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    async with posted(session, progress(session)) as stream:
        (first,) = await until_said(stream, 1)
    await client.delete("/mcp", headers=session.headers)
    async with resumed(session, first.id, 404):
        pass


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_the_hub_closes_long_streams_and_the_client_comes_back(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCPHUB_LIMITS", "stream_s=0.5,keepalive_s=0.3,principal_streams=3")
    with contextmanager(serve)(kind, tmp_path) as edge:
        async with httpx.AsyncClient(base_url=edge.url.removesuffix("/mcp"), trust_env=False, timeout=20) as client:
            session = await Handshake(client).open()
            slow = session.message("echo", {"pause": 2.5}, "slow")
            async with asyncio.timeout(20), posted(session, slow) as stream:
                (first,) = await stream.rest()
            assert (first.data, first.retry) == (None, "1000")
            polls = 1
            while True:
                async with resumed(session, first.id) as stream:
                    if told := await stream.rest():
                        break
                polls += 1
            assert messages(told) == ["slow"]
            assert polls > 1
            patient = await Handshake(client).open("2025-06-18")
            async with posted(patient, patient.message("echo", {"pause": 1.5}, "whole")) as stream:
                assert messages(await stream.rest()) == ["whole"]
            await full_of_streams(client)


async def full_of_streams(client: httpx.AsyncClient) -> None:
    """A fourth stream is one too many; a place that was left can be taken."""
    sessions = [await Handshake(client).open() for _ in range(4)]
    listen = {**modern_call("x"), "method": "subscriptions/listen"}
    async with resumable(sessions[0]), resumable(sessions[1]):
        async with resumable(sessions[2]):
            answer = await client.get("/mcp", headers=sessions[3].headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, -31010)
            assert "retry-after" in answer.headers
            assert (await post(client, listen)).status_code == 429
            assert (await client.get("/sse", headers=sessions[3].headers)).status_code == 429

        async def free() -> bool:
            async with client.stream("GET", "/mcp", headers=sessions[3].headers) as response:
                return response.status_code == 200

        await eventually(free)


@asynccontextmanager
async def resumable(session: Handshake) -> AsyncIterator[None]:
    async with session.client.stream("GET", session.path, headers=session.headers) as response:
        assert response.status_code == 200
        yield
