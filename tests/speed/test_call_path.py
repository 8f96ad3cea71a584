"""The cost of a call must not creep up: CPU per call against a reference loop in the same process."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import msgspec
import pytest

from bench.targets import upstream
from tests.harness.hub import ROOT, Hub, servers_file
from tests.speed.call_path import KEY, Figures

RECORDED: Final = {"modern": 4.3, "handshake": 4.3}
"""CPU of a call in steps of the reference loop. A change that makes calls cheaper writes the new value here."""
SLACK: Final = 1.3


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that knows the fast upstream, and does not run."""
    folder = tmp_path_factory.mktemp("speed")
    with upstream(folder) as url, Hub(folder, key=KEY) as hub:
        config = servers_file(folder / "servers.json", {"speed": {"url": f"{url}/mcp"}})
        hub.up("--config", str(config)).until_listed("speed")
        hub.terminate()
        yield hub


@pytest.fixture(scope="module", params=RECORDED)
def measured(request: pytest.FixtureRequest, hub: Hub) -> tuple[str, Figures]:
    """The figures of one era."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.speed.call_path", request.param],
        env=hub.environment | {"DJANGO_SETTINGS_MODULE": "mcphub.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return request.param, msgspec.json.decode(done.stdout.splitlines()[-1], type=Figures)


def test_a_call_costs_no_more_than_was_recorded(measured: tuple[str, Figures]) -> None:
    era, figures = measured
    assert figures.ratio <= SLACK * RECORDED[era], figures


def test_a_call_leaves_nothing_to_the_garbage_collector(measured: tuple[str, Figures]) -> None:
    _, figures = measured
    assert figures.garbage < 1, figures
