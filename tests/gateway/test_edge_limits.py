"""How many sessions and streams there may be: `principal_sessions`, `principal_streams`, `streams`."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.gateway.conftest import Edge, Handshake, call, eventually, modern_headers, serve, text_of
from tests.gateway.test_edge_websocket import GREETING, Frames, dial

LISTEN = {**call("x"), "method": "subscriptions/listen"}
EVENTS = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def small_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One that is full soon, with a database of its own: sessions of other tests would count."""
    folder: Path = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MCPHUB_DATABASE_URL", raising=False)
        patch.setenv("MCPHUB_LIMITS", "principal_sessions=3,principal_streams=2,streams=3")
        with contextmanager(serve)("uvicorn", folder) as edge:
            yield edge


@pytest.fixture
async def small(small_edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    url = small_edge.url.removesuffix("/mcp")
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        yield client


def refusal(answer: httpx.Response) -> tuple[int, int]:
    """Status and code of an answer that says when to come again."""
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["message"]
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_principal_has_only_so_many_sessions(small: httpx.AsyncClient, small_edge: Edge) -> None:
    async with AsyncExitStack() as stack:
        sessions = [await opened(stack, Handshake(small, "bob-key")) for _ in range(3)]
        params = {**GREETING, "protocolVersion": "2025-11-25"}
        greeting = {"jsonrpc": "2.0", "id": "fourth", "method": "initialize", "params": params}
        answer = await Handshake(small, "bob-key").send(greeting)
        assert refusal(answer) == (429, -31010)
        assert answer.json()["id"] == "fourth"
        assert "mcp-session-id" not in answer.headers
        async with dial(small_edge, "bob-key") as connection:
            assert (await Frames(connection).ask("initialize", GREETING))["error"]["code"] == -31010
        assert text_of(await sessions[0].call("whoami")) == "Bob"
        await opened(stack, Handshake(small))
        await small.delete("/mcp", headers=sessions[0].headers)
        await opened(stack, Handshake(small, "bob-key"))


async def opened(stack: AsyncExitStack, session: Handshake) -> Handshake:
    """A session that does not outlive its test."""
    await session.open()
    stack.push_async_callback(end, session)
    return session


async def end(session: Handshake) -> None:
    await session.client.delete(session.path, headers=session.headers)


async def test_a_principal_has_only_so_many_streams_of_any_kind(small: httpx.AsyncClient, small_edge: Edge) -> None:
    async with AsyncExitStack() as stack:
        session = await opened(stack, Handshake(small, "bob-key"))
        listening = {**modern_headers(LISTEN, "bob-key"), **EVENTS}
        async with (
            dial(small_edge, "bob-key"),
            small.stream("POST", "/mcp", json=LISTEN, headers=listening) as stream,
        ):
            assert stream.status_code == 200
            full = (429, -31010)
            assert refusal(await small.get("/mcp", headers=session.headers)) == full
            assert refusal(await small.get("/sse", headers=session.headers)) == full
            assert refusal(await small.post("/mcp", json=LISTEN, headers=listening)) == full
            with pytest.raises(InvalidStatus) as refused:
                async with dial(small_edge, "bob-key"):
                    pass
            assert refused.value.response.status_code == 429
            assert text_of(await session.call("whoami")) == "Bob"
            async with small.stream("GET", "/sse", headers={"x-api-key": "alice-key", **EVENTS}) as other:
                assert other.status_code == 200
        await eventually(lambda: opens(small, session))


async def test_the_hub_has_only_so_many_streams(small: httpx.AsyncClient) -> None:
    bob, alice = ({"x-api-key": key, **EVENTS} for key in ("bob-key", "alice-key"))
    async with small.stream("GET", "/sse", headers=bob), small.stream("GET", "/sse", headers=bob):
        async with small.stream("GET", "/sse", headers=alice):
            assert refusal(await small.get("/sse", headers=alice)) == (503, -31010)
        session = await Handshake(small).open()
        await eventually(lambda: opens(small, session))
        await end(session)


async def opens(client: httpx.AsyncClient, session: Handshake) -> bool:
    """Whether there is a place now."""
    async with client.stream("GET", "/mcp", headers=session.headers) as response:
        return response.status_code == 200
