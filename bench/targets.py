"""What is measured: the upstream itself, the hub in front of it, and `fastmcp`'s proxy in front of it.

The target has core 0 for itself; upstream and load generator share core 1.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import on_core
from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.processes import free_port
from tests.harness.raw import ask
from tests.harness.upstreams import listening
from tests.harness.waiting import until

KEY: Final = "bench-key-0123456789abcdef"
TARGET_CORE: Final = 0
LOAD_CORE: Final = 1


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers MCP. `key_header` is "" where the key is a bearer token.

    `pid` is the root of its process tree, None for the upstream itself."""

    name: str
    url: str
    tool: str
    key: str = ""
    pid: int | None = None
    key_header: str = ""


@contextmanager
def upstream(folder: Path) -> Iterator[str]:
    """The fast upstream; gives its base URL."""
    port = free_port()
    with on_core(LOAD_CORE):
        running = listening(
            [sys.executable, "-m", "bench.upstream", str(port)], port, folder / "upstream.log", _here()
        )
        with running:
            yield f"http://127.0.0.1:{port}"


def _here() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}


@contextmanager
def hub(
    folder: Path, urls: Sequence[str], *, tools: int, daphne: bool = False, rules: int = 0, audit: int = 0
) -> Iterator[Target]:
    """A standalone hub with one upstream per URL, `tools` tools in all, served by one process on SQLite.

    It is filled with further rules and audit rows before it serves. Key, policy and a durable intent and
    outcome are part of every call.
    """
    entries = {f"bench-{number:03}": {"url": url} for number, url in enumerate(urls)}
    config = servers_file(folder / "servers.json", entries)
    start = ("--config", str(config))
    with Hub(folder, key=KEY) as running, on_core(TARGET_CORE):
        running.up(*start)
        _until_listed(running, tools)
        if not daphne:
            _call_once(running)
            running.terminate()
            for what, count in (("rules", rules), ("audit", audit)):
                if count:
                    _fill(running, what, count)
            running.serve("--workers", "1")
            _until_listed(running, tools)
        name = "MCP Hub, `up` (Daphne)" if daphne else "MCP Hub, `serve --workers 1`"
        yield Target(name, running.mcp_url, "bench-000__echo", KEY, running.process.pid)


def _fill(running: Hub, what: str, count: int) -> None:
    command = [sys.executable, "-m", "bench.fill", what, str(count)]
    subprocess.run(command, env=running.environment, cwd=ROOT, check=True, timeout=120)


def _until_listed(running: Hub, tools: int) -> None:
    url = running.mcp_url
    until(f"a list of {tools} tools", lambda: len(ask(url, KEY, "tools/list", {})["tools"]) == tools, 60)


def _call_once(running: Hub) -> None:
    answer = ask(running.mcp_url, KEY, "tools/call", {"name": "bench-000__echo", "arguments": {"text": "once"}})
    assert not answer.get("isError"), answer


@contextmanager
def fastmcp(folder: Path, urls: Sequence[str], *, kept: bool) -> Iterator[Target]:
    """`fastmcp`'s proxy, with a client per call (its default) or one that is kept connected."""
    port = free_port()
    command = [sys.executable, "-m", "bench.fastmcp_proxy", str(port), KEY, "KEPT" if kept else "FRESH", *urls]
    with on_core(TARGET_CORE), listening(command, port, folder / "fastmcp.log", _here()) as running:
        name = "fastmcp proxy, one client kept" if kept else "fastmcp proxy, as documented"
        yield Target(
            name, f"http://127.0.0.1:{port}/mcp", "echo" if len(urls) == 1 else "bench-000_echo", KEY, running.pid
        )
