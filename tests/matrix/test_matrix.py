"""The matrix: every cell holds, or the specification has no such thing."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.processes import free_port
from tests.harness.raw import ERAS, Era
from tests.harness.upstreams import listening
from tests.matrix import page
from tests.matrix.cells import CELLS, EMPTY
from tests.matrix.door import Door, Endpoint

ENDPOINTS: tuple[Endpoint, Endpoint] = ("aggregate", "single")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with one upstream of each era, whose lists come in small pages."""
    folder = tmp_path_factory.mktemp("matrix")
    with ExitStack() as stack:
        servers = {}
        for era in ERAS:
            port = free_port()
            command = [sys.executable, "-m", "tests.matrix.upstream", era, str(port)]
            environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
            stack.enter_context(listening(command, port, folder / f"{era}.log", environment))
            servers[era] = {"url": f"http://127.0.0.1:{port}/mcp"}
        hub = stack.enter_context(Hub(folder / "hub", limits="page_size=7"))
        yield hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*ERAS)


@pytest.mark.requirement("P4")
@pytest.mark.requirement("P5")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("upstream", ERAS, ids=lambda era: f"{era}-upstream")
@pytest.mark.parametrize("client", ERAS, ids=lambda era: f"{era}-client")
@pytest.mark.parametrize("kind", CELLS)
async def test_cell(hub: Hub, kind: str, client: Era, upstream: Era, endpoint: Endpoint):
    if reason := EMPTY.get((kind, client, upstream)):
        pytest.skip(reason)
    await CELLS[kind](Door(hub, client, upstream, endpoint))


def test_page_says_what_is_proved():
    assert page.PAGE.read_text() == page.text(), "run `python -m tests.matrix.page`"
