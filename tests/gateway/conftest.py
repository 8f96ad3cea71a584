import os
import sys
from collections.abc import Iterator
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
