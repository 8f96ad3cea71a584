import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.processes import Process
from tests.harness.waiting import until

MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


@dataclass
class Edge:
    """An edge in a process of its own."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


def call(name: str, arguments: dict[str, Any] | None = None, id_: Any = 1, **meta: Any) -> dict[str, Any]:
    """A modern `tools/call`."""
    params = {"name": name, "arguments": arguments or {}, "_meta": {**META, **meta}}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


def modern_headers(message: dict[str, Any], key: str = "alice-key") -> dict[str, str]:
    """What a modern client sends beside `message`."""
    headers = {
        "authorization": f"Bearer {key}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": message["method"],
    }
    if name := message.get("params", {}).get("name"):
        headers["mcp-name"] = name
    return headers


@pytest.fixture(scope="session", params=["uvicorn", "daphne"])
def edge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The edge with a tiny core, under each server."""
    data_dir = tmp_path_factory.mktemp(request.param)
    yield from serve(request.param, data_dir)


def serve(kind: str, data_dir: Path, log: str = "edge.log") -> Iterator[Edge]:
    """One edge process, ended afterwards."""
    command = [sys.executable, "-u", "-m", "tests.gateway.edge_server", kind, str(data_dir)]
    process = Process(command, data_dir / log, env=dict(os.environ))
    line = until("the port", lambda: process.output.partition("\n")[0] or process.expect_running(), 30)
    yield Edge(process, int(line))
    assert process.stop() == 0


@pytest.fixture
async def client(edge: Edge) -> Any:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{edge.port}", trust_env=False, timeout=20) as http:
        yield http


async def post(client: httpx.AsyncClient, message: Any, key: str = "alice-key", **headers: str) -> httpx.Response:
    """A modern POST; `headers` (with `_` for `-`) replace, and "" removes."""
    sent = modern_headers(message, key) | {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/mcp", json=message, headers={name: value for name, value in sent.items() if value})


def text_of(response: httpx.Response) -> Any:
    """The first text of a tool result, parsed when it is JSON."""
    text = response.json()["result"]["content"][0]["text"]
    try:
        return json.loads(text)
    except ValueError:
        return text


def events(text: str) -> list[Any]:
    """The JSON messages of an event stream."""
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def seen(client: httpx.AsyncClient) -> Any:
    """What happened to the core so far."""
    return text_of(await post(client, call("seen")))


async def eventually(check: Callable[[], Awaitable[Any]], within: float = 5) -> Any:
    """The first truthy value of `check`."""
    async with asyncio.timeout(within):
        while not (value := await check()):
            await asyncio.sleep(0.02)
        return value


class Handshake:
    """A handshake session spoken by hand."""

    def __init__(self, client: httpx.AsyncClient, key: str = "alice-key", path: str = "/mcp") -> None:
        self.client = client
        self.path = path
        self.headers = {"authorization": f"Bearer {key}", "accept": "application/json, text/event-stream"}

    async def open(self, revision: str = "2025-11-25", **capabilities: Any) -> "Handshake":
        info = {"name": "by-hand", "version": "1"}
        params = {"protocolVersion": revision, "capabilities": capabilities, "clientInfo": info}
        answer = await self.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        assert answer.status_code == 200, answer.text
        self.headers["mcp-session-id"] = answer.headers["mcp-session-id"]
        self.headers["mcp-protocol-version"] = answer.json()["result"]["protocolVersion"]
        return self

    async def send(self, message: Any) -> httpx.Response:
        return await self.client.post(self.path, json=message, headers=self.headers)

    async def call(self, name: str, arguments: dict[str, Any] | None = None, id_: Any = 1) -> httpx.Response:
        return await self.send(self.message(name, arguments, id_))

    def message(
        self, name: str, arguments: dict[str, Any] | None = None, id_: Any = 1, **meta: Any
    ) -> dict[str, Any]:
        params: dict[str, Any] = {"name": name, "arguments": arguments or {}}
        if meta:
            params["_meta"] = meta
        return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}

    async def notify(self, method: str, **params: Any) -> httpx.Response:
        return await self.send({"jsonrpc": "2.0", "method": method, "params": params})
