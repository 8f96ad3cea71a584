"""Going down: streams that carry only news end at once, calls are finished."""

import asyncio
import signal
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import Handshake, call, events, modern_headers, post, serve, text_of
from tests.gateway.test_edge_legacy import GREETING, old_client
from tests.gateway.test_edge_websocket import frames


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_f23_news_streams_do_not_hold_the_hub_up_and_calls_are_finished(kind: str, tmp_path: Path) -> None:
    listen = {**call("x"), "method": "subscriptions/listen"}
    listen["params"] = {"notifications": {}, "_meta": listen["params"]["_meta"]}
    with contextmanager(serve)(kind, tmp_path) as edge:
        async with httpx.AsyncClient(base_url=edge.url.removesuffix("/mcp"), trust_env=False, timeout=20) as client:
            session = await Handshake(client).open()
            async with (
                client.stream("GET", "/mcp", headers=session.headers) as news,
                client.stream("POST", "/mcp", json=listen, headers=modern_headers(listen)) as subscription,
            ):
                lines, more = news.aiter_lines(), subscription.aiter_lines()
                assert await anext(lines) == ": open"
                assert await anext(more) == "event: message"
                calling = asyncio.create_task(post(client, call("echo", {"pause": 0.8})))
                await asyncio.sleep(0.2)
                edge.process.send(signal.SIGTERM)
                async with asyncio.timeout(20):
                    assert events("\n".join([line async for line in lines])) == []
                    assert events("\n".join([line async for line in more]))[-1]["id"] == 1
            assert text_of(await calling) == {"pause": 0.8}
        assert edge.process.wait(15) == 0


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_f23_conversations_end_after_the_answers_they_wait_for(kind: str, tmp_path: Path) -> None:
    slow = {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}
    slow["params"] = {"name": "echo", "arguments": {"pause": 1.0}}
    with contextmanager(serve)(kind, tmp_path) as edge:
        async with (
            httpx.AsyncClient(base_url=edge.url.removesuffix("/mcp"), trust_env=False, timeout=20) as client,
            old_client(client) as idle,
            old_client(client) as old,
            frames(edge) as spoken,
        ):
            await old.ask("initialize", GREETING)
            await old.send(slow)
            await spoken.send(slow)
            await asyncio.sleep(0.2)
            edge.process.send(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert [line async for line in idle.lines] == []
                assert (await old.heard())["id"] == 7
                assert (await spoken.heard())["id"] == 7
                assert await spoken.closed() == 1001
        assert edge.process.wait(15) == 0
