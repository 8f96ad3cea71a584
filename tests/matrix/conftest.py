"""The hub of the matrix."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.processes import free_port
from tests.harness.raw import SIDES
from tests.harness.upstreams import listening

pytest.register_assert_rewrite("tests.matrix.cells")


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with one upstream of each era and one of both, whose lists come in small pages."""
    folder = tmp_path_factory.mktemp("matrix")
    with ExitStack() as stack:
        servers = {}
        for side in SIDES:
            port = free_port()
            command = [sys.executable, "-m", "tests.matrix.upstream", side, str(port)]
            environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
            stack.enter_context(listening(command, port, folder / f"{side}.log", environment))
            servers[side] = {"url": f"http://127.0.0.1:{port}/mcp"}
        hub = stack.enter_context(Hub(folder / "hub", limits="page_size=7"))
        yield hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*SIDES)
