"""A hub in front of an upstream that misbehaves."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.faults.truth import Truth
from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.processes import free_port
from tests.harness.upstreams import listening

CALL_S = 2
HARD_S = 4


@contextmanager
def evil_upstream(
    folder: Path, speaks: Literal["handshake", "both"], **others: Mapping[str, Any]
) -> Iterator[tuple[Path, Truth]]:
    """A running evil upstream: the servers file that names it `evil`, and its account; `others` are named too."""
    log, port = folder / "truth", free_port()
    command = [sys.executable, "-m", "tests.faults.evil_upstream", str(port), str(log), speaks]
    with listening(command, port, folder / "evil.log", {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}):
        url = f"http://127.0.0.1:{port}/mcp"
        yield servers_file(folder / "servers.json", {"evil": {"url": url}, **others}), Truth(log)


@dataclass(frozen=True, slots=True)
class Evil:
    """The hub, and what its upstream says."""

    hub: Hub
    truth: Truth


@pytest.fixture(scope="module", params=["handshake", "both"])
def evil(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evil]:
    """With an upstream of the handshake era, and with one that also speaks the modern one."""
    folder = tmp_path_factory.mktemp("evil")
    limits = f"call_s={CALL_S},call_hard_s={HARD_S}"
    with evil_upstream(folder, request.param) as (config, truth), Hub(folder / "hub", limits=limits) as hub:
        yield Evil(hub.up("--config", str(config)).until_listed("evil"), truth)
