"""A hub in front of one evil upstream of each kind, those over HTTP behind a proxy that can break the way."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.baseline import WatchedHub
from tests.faults.faultproxy import FaultProxy
from tests.faults.histories import History, Told, faults, joined, tell
from tests.faults.truth import Truth
from tests.harness.hub import ROOT, servers_file
from tests.harness.processes import free_port
from tests.harness.raw import Era, RpcFailed, ask, raw_client
from tests.harness.upstreams import listening
from tests.harness.waiting import until

CALL_S: Final = 2
HARD_S: Final = 4
LIMITS: Final = f"call_s={CALL_S},call_hard_s={HARD_S},resolve_s=0.2,breaker_s=1,upstream_idle_s=0.3"

HTTP: Final = ("old", "new")
OVER_HTTP: Final = (*HTTP, "stream")
PIPES: Final = ("pipe", "newpipe")
KINDS: Final = (*OVER_HTTP, *PIPES)
"""`old` speaks the handshake era, `new` both; `stream` is the transport of 2024-11-05; pipes are processes."""


@dataclass(frozen=True, slots=True)
class Evils:
    """The hub, what its upstreams say, and the ways to those over HTTP."""

    hub: WatchedHub
    truths: Mapping[str, Truth]
    proxies: Mapping[str, FaultProxy]

    async def tell(self, kind: str, era: Era, **arguments: Any) -> Told:
        """A call by a client that connects for it."""
        async with raw_client(self.hub.mcp_url, self.hub.key, era) as client:
            return await tell(client, f"{kind}__act", **arguments)

    def history(self, kind: str, told: Told) -> History:
        """The three histories of this call; those of all calls to its upstream keep the promises."""
        found = joined(self.hub, self.truths[kind], [told])
        assert faults({nonce: each for nonce, each in found.items() if each.arrived or nonce == told.nonce}) == []
        return found[told.nonce]

    def until_well(self, kind: str) -> None:
        """Wait until calls to this upstream work again, by themselves."""
        until(f"a call to {kind} that works", lambda: self._works(kind), 20)

    def _works(self, kind: str) -> bool:
        with contextlib.suppress(RpcFailed):
            answer = ask(self.hub.mcp_url, self.hub.key, "tools/call", {"name": f"{kind}__act", "arguments": ECHO})
            return not answer.get("isError", False)
        return False


ECHO: Final = {"do": "echo", "text": "well"}


@contextmanager
def evils(folder: Path, **settings: str) -> Iterator[Evils]:
    """All of them, running and listed."""
    truths = {kind: Truth(folder / f"{kind}.truth") for kind in KINDS}
    with ExitStack() as running:
        proxies = {kind: running.enter_context(behind_a_proxy(folder, kind, truths[kind])) for kind in OVER_HTTP}
        entries = {kind: _address(kind, proxy.port) for kind, proxy in proxies.items()}
        entries |= {kind: _command(kind, truths[kind]) for kind in PIPES}
        hub = running.enter_context(WatchedHub(folder / "hub", **{"limits": LIMITS, **settings}))
        hub.up("--config", str(servers_file(folder / "servers.json", entries))).until_listed(*KINDS)
        yield Evils(hub, truths, proxies)


@contextmanager
def behind_a_proxy(folder: Path, kind: str, truth: Truth) -> Iterator[FaultProxy]:
    """An evil upstream over HTTP of this kind, and the proxy on the way to it."""
    port = free_port()
    speaks = "handshake" if kind in ("old", "stream") else "both"
    command = [sys.executable, "-m", "tests.faults.evil_upstream", str(port), str(truth.log), speaks]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with listening(command, port, folder / f"{kind}.log", environment), FaultProxy(port) as proxy:
        yield proxy


def _address(kind: str, port: int) -> dict[str, Any]:
    if kind == "stream":
        return {"type": "sse", "url": f"http://127.0.0.1:{port}/sse"}
    return {"url": f"http://127.0.0.1:{port}/mcp"}


def _command(kind: str, truth: Truth) -> dict[str, Any]:
    speaks = ["handshake"] if kind == "pipe" else []
    arguments = ["-m", "tests.faults.evil_stdio", str(truth.log), *speaks]
    return {"command": sys.executable, "args": arguments, "env": {"PYTHONPATH": str(ROOT)}}
