"""MCP over WebSocket, under both servers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.gateway.conftest import Edge, call, eventually, post, seen
from tests.gateway.test_edge_legacy import batch_of

GREETING = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "frames"}}


class Frames:
    """A conversation, one message a frame."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def heard(self) -> Any:
        async with asyncio.timeout(10):
            frame = await self.connection.recv()
        assert isinstance(frame, str)
        return json.loads(frame)

    async def send(self, message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def ask(self, method: str, params: dict[str, Any], id_: Any = 1) -> Any:
        """Send a request; the next message."""
        await self.send({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
        return await self.heard()

    async def call(self, tool: str, id_: Any = 1, **arguments: Any) -> Any:
        return await self.ask("tools/call", {"name": tool, "arguments": arguments}, id_)

    async def closed(self) -> int:
        """The code with which the hub closed the connection."""
        async with asyncio.timeout(10):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code


def dial(edge: Edge, key: str = "alice-key", path: str = "/mcp", **options: Any) -> connect:
    url = edge.url.replace("http://", "ws://").removesuffix("/mcp") + path
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return connect(url, additional_headers=headers, proxy=None, **options)


@asynccontextmanager
async def frames(edge: Edge, key: str = "alice-key", path: str = "/mcp", **options: Any) -> AsyncIterator[Frames]:
    """A conversation after its greeting."""
    async with dial(edge, key, path, **options) as connection:
        spoken = Frames(connection)
        assert (await spoken.ask("initialize", GREETING, 0))["result"]["protocolVersion"] == "2025-11-25"
        await spoken.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield spoken


@pytest.mark.requirement("P21")
@pytest.mark.parametrize("path", ["/mcp", "/mcp/default", "/mcp/default/time", "/time/mcp"])
async def test_every_mcp_path_is_spoken_over_websocket(edge: Edge, path: str) -> None:
    async with frames(edge, path=path) as spoken:
        assert (await spoken.ask("tools/list", {}, "l"))["result"]["tools"][0]["name"] == "echo"
        assert (await spoken.call("whoami"))["result"]["content"][0]["text"] == "Alice"
        facts = json.loads((await spoken.call("request"))["result"]["content"][0]["text"])
    assert (facts["era"], facts["revision"], facts["capabilities"]) == (
        "handshake",
        "2025-11-25",
        {"elicitation": {}},
    )
    assert facts["session"]


@pytest.mark.requirement("P21")
async def test_a_subprotocol_is_taken_when_offered(edge: Edge) -> None:
    async with dial(edge, subprotocols=["other", "mcp"]) as connection:
        assert connection.subprotocol == "mcp"


@pytest.mark.requirement("P21", "S3")
@pytest.mark.parametrize(
    ("key", "path", "origin", "status"),
    [
        ("", "/mcp", None, 401),
        ("wrong", "/mcp", None, 401),
        ("guess", "/mcp", None, 429),
        ("storm", "/mcp", None, 503),
        ("alice-key", "/mcp/hidden", None, 404),
        ("alice-key", "/sse", None, 404),
        ("alice-key", "/mcp", "https://evil.example", 403),
    ],
    ids=["no key", "wrong key", "guessing", "no storage", "hidden org", "other wire", "foreign origin"],
)
async def test_who_may_not_is_refused_before_the_upgrade(
    edge: Edge, key: str, path: str, origin: Any, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with dial(edge, key, path, origin=origin):
            pass
    assert refused.value.response.status_code == status


async def test_the_own_origin_may(edge: Edge) -> None:
    async with frames(edge, origin=edge.url.removesuffix("/mcp")) as spoken:
        assert (await spoken.ask("ping", {}))["result"] == {}


async def test_keys_in_the_query_open_nothing(edge: Edge) -> None:
    with pytest.raises(InvalidStatus):
        async with dial(edge, "", "/mcp?key=alice-key&access_token=alice-key"):
            pass


@pytest.mark.requirement("P21")
async def test_answers_come_when_they_are_ready(edge: Edge) -> None:
    async with frames(edge) as spoken:
        for id_, pause in ((1, 0.5), (2, 0)):
            params = {"name": "echo", "arguments": {"pause": pause}}
            await spoken.send({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})
        assert [(await spoken.heard())["id"] for _ in range(2)] == [2, 1]


@pytest.mark.requirement("P21")
@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18"])
async def test_batches_are_answered_together_where_the_revision_has_them(edge: Edge, revision: str) -> None:
    async with dial(edge) as connection:
        spoken = Frames(connection)
        await spoken.ask("initialize", GREETING | {"protocolVersion": revision}, 0)
        await spoken.send(batch_of(3))
        answered = await spoken.heard()
        if revision == "2025-03-26":
            assert [one["id"] for one in answered] == [0, 1, 2, "odd"]
        else:
            assert answered["error"]["code"] == -32600
        assert (await spoken.ask("ping", {}))["result"] == {}


@pytest.mark.requirement("P21", "P7")
async def test_the_client_is_asked_on_its_connection(edge: Edge) -> None:
    async with frames(edge) as spoken, frames(edge, "bob-key") as stranger:
        question = await spoken.call("ask")
        assert question["method"] == "elicitation/create"
        forged = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
        await stranger.send(forged)
        assert (await stranger.heard())["error"]["code"] == -32600
        await spoken.send({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
        answer = await spoken.heard()
    assert json.loads(answer["result"]["content"][0]["text"]) == {"action": "decline"}


@pytest.mark.requirement("P21", "P18")
async def test_progress_news_and_cancellation(edge: Edge, client: httpx.AsyncClient) -> None:
    async with frames(edge) as spoken:
        params = {"name": "progress", "arguments": {"steps": 2}, "_meta": {"progressToken": "t"}}
        told = [await spoken.ask("tools/call", params), await spoken.heard(), await spoken.heard()]
        assert [message.get("params", {}).get("progress") for message in told] == [1, 2, None]
        assert (await spoken.call("push"))["method"] == "notifications/tools/list_changed"
        assert (await spoken.heard())["result"]
        assert (await spoken.call("wait", "ws-1", begun=True))["method"] == "notifications/message"
        cancelled = {"requestId": "ws-1"}
        await spoken.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        assert (await spoken.heard())["error"]["code"] == -32800
        await spoken.call("wait", "ws-2", begun=True)

    async def ended() -> bool:
        return {"ws-1", "ws-2"} <= set((await seen(client))["cancelled"])

    await eventually(ended)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", -32700),
        ('{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
        ("[" * 1000, -32700),
        ("[]", -32600),
        ('[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        ('{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        ('{"jsonrpc":"2.0","id":"nobody asked","result":{}}', -32600),
    ],
)
async def test_bad_frames_are_answered_and_harm_nothing(edge: Edge, frame: str, code: int) -> None:
    async with frames(edge) as spoken:
        await spoken.connection.send(frame)
        assert (await spoken.heard())["error"]["code"] == code
        assert (await spoken.call("whoami"))["result"]["content"][0]["text"] == "Alice"


async def test_a_modern_method_does_not_exist_here(edge: Edge) -> None:
    async with frames(edge) as spoken:
        assert (await spoken.ask("server/discover", {}, 4))["error"]["code"] == -32601


async def test_binary_frames_end_the_connection(edge: Edge) -> None:
    async with frames(edge) as spoken:
        await spoken.connection.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        assert await spoken.closed() == 1003


async def test_large_messages_end_the_connection(edge: Edge) -> None:
    async with frames(edge) as spoken:
        await spoken.connection.send("x" * 200_000)
        assert await spoken.closed() == 1009


async def test_large_answers_arrive_whole(edge: Edge) -> None:
    async with frames(edge, max_size=None) as spoken:
        big = "é" * 12_000
        answer = await spoken.call("echo", text=big)
    assert json.loads(answer["result"]["content"][0]["text"]) == {"text": big}


async def test_a_client_that_does_not_read_is_given_up_and_harms_nobody(
    edge: Edge, client: httpx.AsyncClient
) -> None:
    async with frames(edge) as spoken:
        spoken.connection.transport.pause_reading()
        for id_ in range(20):
            arguments = {"events": 2_000, "bytes": 10_000}
            params = {"name": "flood", "arguments": arguments}
            await spoken.send({"jsonrpc": "2.0", "id": f"ws-flood-{id_}", "method": "tools/call", "params": params})
        assert json.loads((await post(client, call("echo", {"n": 1}))).json()["result"]["content"][0]["text"])
        spoken.connection.transport.abort()


async def test_f37_the_connection_ends_when_its_key_is_revoked(edge: Edge, client: httpx.AsyncClient) -> None:
    try:
        async with frames(edge, "bob-key") as spoken:
            await post(client, call("revoke", {"key": "bob-key"}))
            assert await spoken.closed() == 1008
    finally:
        await post(client, call("restore"))
