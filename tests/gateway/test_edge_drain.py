"""Going down: streams that carry only news end at once, calls are finished."""

import asyncio
import signal
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import Handshake, call, events, modern_headers, post, serve, text_of


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
                async with asyncio.timeout(3):
                    assert events("\n".join([line async for line in lines])) == []
                    assert events("\n".join([line async for line in more]))[-1]["id"] == 1
            assert text_of(await calling) == {"pause": 0.8}
        assert edge.process.wait(3) == 0
