"""HTTP+SSE of 2024-11-05: a stream that says where to POST."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client

from tests.gateway.conftest import Edge, call, eventually, post, seen

GREETING = {"protocolVersion": "2024-11-05", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "old"}}


def batch_of(size: int) -> list[dict[str, Any]]:
    """A batch of `size` calls, the first ones ready last, a notification, and a request of the other era."""
    calls = [call("echo", {"pause": 0.2 / (id_ + 1)}, id_=id_) for id_ in range(size)]
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    return [note, *calls, {"jsonrpc": "2.0", "id": "odd", "method": "server/discover"}]


class Old:
    """A conversation spoken by hand."""

    def __init__(self, client: httpx.AsyncClient, key: str, lines: AsyncIterator[str]) -> None:
        self.client = client
        self.headers = {"authorization": f"Bearer {key}"}
        self.lines = lines
        self.endpoint = ""

    async def event(self) -> tuple[str, str]:
        """Name and data of the next event."""
        name = data = ""
        async for line in self.lines:
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = line[6:]
            elif not line and data:
                return name, data
        raise AssertionError("the stream ended")

    async def heard(self) -> Any:
        name, data = await self.event()
        assert name == "message"
        return json.loads(data)

    async def send(self, message: Any) -> httpx.Response:
        return await self.client.post(self.endpoint, json=message, headers=self.headers)

    async def ask(self, method: str, params: dict[str, Any], id_: Any = 1) -> Any:
        """Send a request; the next message."""
        answer = await self.send({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
        assert (answer.status_code, answer.content) == (202, b"")
        return await self.heard()


@asynccontextmanager
async def old_client(client: httpx.AsyncClient, key: str = "alice-key", path: str = "/sse") -> AsyncIterator[Old]:
    """A conversation after its `endpoint` event."""
    headers = {"authorization": f"Bearer {key}", "accept": "text/event-stream"}
    async with client.stream("GET", path, headers=headers) as stream:
        assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream")
        old = Old(client, key, stream.aiter_lines())
        name, old.endpoint = await old.event()
        assert name == "endpoint"
        yield old


@pytest.mark.requirement("P16")
async def test_the_official_client_lists_calls_and_is_asked(edge: Edge) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    url = edge.url.removesuffix("/mcp") + "/sse"
    async with (
        sse_client(url, headers={"Authorization": "Bearer alice-key"}) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = await session.list_tools()
        result = await session.call_tool("echo", {"n": 1})
        await session.call_tool("progress", {"steps": 3}, progress_callback=hear)
    assert [tool.name for tool in tools.tools] == ["echo"]
    assert json.loads(result.content[0].text) == {"n": 1}
    assert heard == [1, 2, 3]


@pytest.mark.requirement("P16")
@pytest.mark.parametrize(("path", "endpoint"), [("/sse", "/messages"), ("/time/sse", "/time/messages")])
async def test_the_stream_names_its_endpoint_and_carries_every_answer(
    client: httpx.AsyncClient, path: str, endpoint: str
) -> None:
    async with old_client(client, path=path) as old:
        assert old.endpoint.partition("?")[0] == endpoint
        greeted = await old.ask("initialize", GREETING, "i")
        assert (greeted["id"], greeted["result"]["protocolVersion"]) == ("i", "2024-11-05")
        answer = await old.ask("tools/call", {"name": "whoami"})
        assert answer["result"]["content"][0]["text"] == "Alice"


async def test_answers_come_when_they_are_ready(client: httpx.AsyncClient) -> None:
    async with old_client(client) as old:
        await old.ask("initialize", GREETING)
        for id_, pause in ((1, 0.5), (2, 0)):
            params = {"name": "echo", "arguments": {"pause": pause}}
            await old.send({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})
        assert [(await old.heard())["id"] for _ in range(2)] == [2, 1]


async def test_the_client_is_asked_and_answers_by_post(client: httpx.AsyncClient) -> None:
    async with old_client(client) as old:
        await old.ask("initialize", GREETING)
        question = await old.ask("tools/call", {"name": "ask"})
        assert question["method"] == "elicitation/create"
        assert (await old.send({"jsonrpc": "2.0", "id": "forged", "result": {}})).status_code == 400
        await old.send({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
        assert json.loads((await old.heard())["result"]["content"][0]["text"]) == {"action": "decline"}


async def test_news_come_on_the_stream(client: httpx.AsyncClient) -> None:
    async with old_client(client) as old:
        await old.ask("initialize", GREETING)
        first = await old.ask("tools/call", {"name": "push"})
        assert first["method"] == "notifications/tools/list_changed"


@pytest.mark.requirement("P16", "P6")
async def test_strangers_and_ended_conversations_are_the_same_404(client: httpx.AsyncClient) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with old_client(client) as old:
        await old.ask("initialize", GREETING)
        answers = [
            await client.post(old.endpoint, json=message, headers={"authorization": f"Bearer {key}"})
            for key in ("bob-key", "alice-elsewhere")
        ]
        answers += [
            await client.post(endpoint, json=message, headers=old.headers)
            for endpoint in ("/messages", "/messages?session_id=x", "/time" + old.endpoint)
        ]
        assert (await client.post(old.endpoint, json=message)).status_code == 401

    async def ended() -> bool:
        return (await old.send(message)).status_code == 404

    await eventually(ended)
    answers.append(await old.send(message))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


async def test_a_client_that_leaves_ends_what_it_began(client: httpx.AsyncClient) -> None:
    async with old_client(client) as old:
        await old.ask("initialize", GREETING)
        params = {"name": "wait", "arguments": {"begun": True}}
        assert (await old.ask("tools/call", params, "old-wait"))["method"] == "notifications/message"

    async def cancelled() -> bool:
        return "old-wait" in (await seen(client))["cancelled"]

    await eventually(cancelled)


async def test_the_conversation_begins_with_initialize_once(client: httpx.AsyncClient) -> None:
    async with old_client(client) as old:
        early = await old.ask("tools/call", {"name": "whoami"}, 5)
        assert (early["id"], early["error"]["code"]) == (5, -32600)
        assert (await old.send({"jsonrpc": "2.0", "method": "notifications/initialized"})).status_code == 400
        await old.ask("initialize", GREETING)
        assert (await old.ask("initialize", GREETING, 6))["error"]["code"] == -32600


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/sse", 405), ("DELETE", "/sse", 405), ("GET", "/messages", 405), ("GET", "/sse/more", 404)],
)
async def test_each_path_has_one_method(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await client.request(method, path, headers={"authorization": "Bearer alice-key"})
    assert answer.status_code == status


async def test_f37_the_stream_ends_when_its_key_is_revoked(client: httpx.AsyncClient) -> None:
    try:
        async with asyncio.timeout(8), old_client(client, "bob-key") as old:
            await old.ask("initialize", GREETING)
            await post(client, call("revoke", {"key": "bob-key"}))
            with pytest.raises(AssertionError, match="ended"):
                await old.event()
    finally:
        await post(client, call("restore"))


async def test_requests_under_way_on_one_connection_are_bounded(client: httpx.AsyncClient) -> None:
    async with old_client(client) as old:
        await old.ask("initialize", GREETING)
        params = {"name": "echo", "arguments": {"pause": 2}}
        for id_ in range(21):
            await old.send({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})
        refused = await old.heard()
    assert (refused["id"], refused["error"]["code"]) == (20, -31010)


@pytest.mark.requirement("P16")
async def test_batches_are_answered_together_where_the_revision_has_them(client: httpx.AsyncClient) -> None:
    batch = batch_of(3)
    async with old_client(client) as old:
        assert (await old.send(batch)).status_code == 400
        await old.ask("initialize", GREETING | {"protocolVersion": "2025-03-26"})
        assert (await old.send(batch)).status_code == 202
        answered = await old.heard()
        assert [one["id"] for one in answered] == [0, 1, 2, "odd"]
        assert [one["error"]["code"] for one in answered if "error" in one] == [-32601]
        assert (await old.send([])).status_code == 400
        await old.send(batch_of(21))
        assert {one["error"]["code"] for one in await old.heard()} == {-31010}
        assert (await old.ask("ping", {}))["result"] == {}
    async with old_client(client) as old:
        await old.ask("initialize", GREETING | {"protocolVersion": "2025-06-18"})
        assert (await old.send(batch)).json()["error"]["code"] == -32600
