"""Upstreams of either era, each a program to run."""

import json
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import node
from tests.harness.hub import ROOT
from tests.harness.processes import Process, free_port
from tests.harness.raw import Era, Side
from tests.harness.waiting import until

SDK_SERVER = "tests.harness.upstreams.sdk_server"
ASKING_SERVER = "tests.harness.upstreams.asking_server"
GUARDED_SERVER = "tests.harness.upstreams.guarded_server"
EXTENDING_SERVER = "tests.harness.upstreams.extending_server"
TELLING_SERVER = "tests.harness.upstreams.telling_server"
PROTECTED_SERVER = "tests.harness.upstreams.protected_server"


def sdk_stdio(marks: Path) -> dict[str, Any]:
    """The entry of a servers file for the SDK's server over stdio."""
    environment = {"MARKS": str(marks), "PYTHONPATH": str(ROOT)}
    return {"command": sys.executable, "args": ["-m", SDK_SERVER], "env": environment}


def time_stdio() -> dict[str, Any]:
    """The entry for `mcp-server-time`."""
    return {"command": sys.executable, "args": ["-m", "mcp_server_time", "--local-timezone=UTC"]}


def everything_stdio() -> dict[str, Any]:
    """The entry for `@modelcontextprotocol/server-everything` over stdio."""
    program, *arguments = node.command("mcp-server-everything", "stdio")
    return {"command": program, "args": arguments}


def memory_stdio(file: Path) -> dict[str, Any]:
    """The entry for `@modelcontextprotocol/server-memory`, which keeps its graph in `file`."""
    program, *arguments = node.command("mcp-server-memory")
    return {"command": program, "args": arguments, "env": {"MEMORY_FILE_PATH": str(file)}}


@contextmanager
def sdk_http(folder: Path) -> Iterator[str]:
    """The SDK's server over streamable HTTP; gives its URL. Marks go to `folder/marks`."""
    environment = {"MARKS": str(folder / "marks"), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    port = free_port()
    with listening([sys.executable, "-m", SDK_SERVER, str(port)], port, folder / "sdk.log", environment):
        yield f"http://127.0.0.1:{port}/mcp"


@dataclass(frozen=True)
class GuardedServer:
    """A server that wants a token: its URL, the file of its accounts, and what its requests brought."""

    url: str
    accounts: Path
    dump: Path

    def let_in(self, **tokens: Mapping[str, Any]) -> None:
        """From now on these tokens, and no others, open it."""
        self.accounts.write_text(json.dumps(tokens))

    @property
    def requests(self) -> list[dict[str, str]]:
        """The headers of every request that came."""
        return [json.loads(line) for line in self.dump.read_text().splitlines()] if self.dump.exists() else []


@contextmanager
def guarded_http(folder: Path, era: Side) -> Iterator[GuardedServer]:
    """The server behind the SDK's bearer protection."""
    port = free_port()
    server = GuardedServer(f"http://127.0.0.1:{port}/mcp", folder / f"{era}-accounts.json", folder / f"{era}-dump")
    server.let_in()
    environment = {"ACCOUNTS": str(server.accounts), "DUMP": str(server.dump), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", GUARDED_SERVER, era, str(port)]
    with listening(command, port, folder / f"guarded-{era}.log", {**environment, "PATH": "/usr/bin:/bin"}):
        yield server


def asking_stdio(era: Side, marks: Path) -> dict[str, Any]:
    """The entry for the server that asks its client, over stdio."""
    environment = {"MARKS": str(marks), "PYTHONPATH": str(ROOT)}
    return {"command": sys.executable, "args": ["-m", ASKING_SERVER, era], "env": environment}


@contextmanager
def asking_http(folder: Path, era: Side) -> Iterator[str]:
    """The server that asks its client, in one era or both; gives its URL. Marks go to `folder/marks`."""
    environment = {"MARKS": str(folder / "marks"), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    port = free_port()
    command = [sys.executable, "-m", ASKING_SERVER, era, str(port)]
    with listening(command, port, folder / f"{era}.log", environment):
        yield f"http://127.0.0.1:{port}/mcp"


def telling_stdio(era: Era) -> dict[str, Any]:
    """The entry for the server that tells its clients news, over stdio."""
    return {"command": sys.executable, "args": ["-m", TELLING_SERVER, era], "env": {"PYTHONPATH": str(ROOT)}}


def extending_stdio(name: str) -> dict[str, Any]:
    """The entry for the server with extensions, over stdio."""
    return {"command": sys.executable, "args": ["-m", EXTENDING_SERVER, name], "env": {"PYTHONPATH": str(ROOT)}}


@contextmanager
def telling_http(folder: Path, era: Era, port: int = 0) -> Iterator[str]:
    """The server that tells its clients news, in one era; gives its URL."""
    port = port or free_port()
    command = [sys.executable, "-m", TELLING_SERVER, era, str(port)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with listening(command, port, folder / f"telling-{era}.log", environment):
        yield f"http://127.0.0.1:{port}/mcp"


@contextmanager
def everything_http(folder: Path, transport: str = "streamableHttp") -> Iterator[str]:
    """`server-everything` over `streamableHttp` or `sse`; gives its URL."""
    port = free_port()
    command = node.command("mcp-server-everything", transport)
    path = {"streamableHttp": "/mcp", "sse": "/sse"}[transport]
    with listening(command, port, folder / "everything.log", {**node.environment(), "PORT": str(port)}):
        yield f"http://127.0.0.1:{port}{path}"


@contextmanager
def example_http(folder: Path, name: str) -> Iterator[str]:
    """One of the TypeScript SDK's own example servers over streamable HTTP; gives its URL."""
    port = free_port()
    ports = {"PORT": str(port), "MCP_PORT": str(port)}
    with listening(node.example(name), port, folder / f"{name}.log", {**node.environment(), **ports}):
        yield f"http://127.0.0.1:{port}/mcp"


@dataclass(frozen=True, slots=True)
class Protected:
    """A protected upstream with its authorization server, and what that server has seen."""

    url: str
    issuer: str
    log: Path

    def asked(self, grant: str) -> list[dict[str, Any]]:
        """The token requests of one grant type, with status and error."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [entry for entry in map(json.loads, lines) if entry.get("grant") == grant]

    @property
    def hold(self) -> Path:
        """While this file exists, token answers wait."""
        return self.log.with_name(f"{self.log.name}.hold")


@contextmanager
def protected_http(folder: Path, **settings: str) -> Iterator[Protected]:
    """A server with the SDK's bearer protection behind `oidc-provider`; `settings` are the latter's environment."""
    port, at = free_port(), free_port()
    url, issuer, log = f"http://127.0.0.1:{port}/mcp", f"http://127.0.0.1:{at}", folder / "tokens.jsonl"
    command = [sys.executable, "-m", PROTECTED_SERVER, str(port), issuer]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    provider = node.authorization_server(at, url, log)
    with (
        listening(provider, at, folder / "provider.log", {**node.environment(), **settings}),
        listening(command, port, folder / "protected.log", environment),
    ):
        yield Protected(url, issuer, log)


@contextmanager
def listening(command: Sequence[str], port: int, log: Path, env: Mapping[str, str]) -> Iterator[Process]:
    """Run a program until the block ends; the block begins once it accepts connections on `port`."""
    process = Process(command, log, env=env)
    try:
        until(f"a listener on port {port}", lambda: _accepts(process, port), 90)
        yield process
    finally:
        process.stop()


def _accepts(process: Process, port: int) -> bool:
    process.expect_running()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
