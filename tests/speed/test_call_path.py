"""The cost of a call must not creep up.

Instructions are counted and not time, which proves nothing on a machine that has other things to do: two runs differ
by a few percent however busy it is, and two builds of one Python version by as much.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Final

import msgspec
import pytest

from bench.targets import upstream
from tests.harness.hub import ROOT, Hub, servers_file
from tests.speed.call_path import ERAS, KEY, Cost

RECORDED: Final = {"modern": 1_000_000, "handshake": 1_000_000}
"""Instructions of a call. A change that makes calls cheaper writes the new value here."""
SLACK: Final = 1.3
COUNTER: Final = ("valgrind", "--tool=callgrind", "--instr-atstart=no")
SELDOM: Final = "snapshot_poll_s=60,snapshot_stale_s=240"
"""What the hub does by the clock is no part of a call, and everything takes fifty times as long here."""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.slow,
    pytest.mark.skipif(which("valgrind") is None, reason="valgrind is not installed"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the recorded values are those of Python 3.11"),
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that knows the fast upstream, and does not run."""
    folder = tmp_path_factory.mktemp("speed")
    with upstream(folder) as url, Hub(folder, key=KEY) as hub:
        config = servers_file(folder / "servers.json", {"speed": {"url": f"{url}/mcp"}})
        hub.up("--config", str(config)).until_listed("speed")
        hub.terminate()
        yield hub


@pytest.fixture(scope="module")
def costs(hub: Hub) -> dict[str, Cost]:
    """What was counted."""
    surroundings = {"DJANGO_SETTINGS_MODULE": "mcphub.settings", "PYTHONHASHSEED": "0", "MCPHUB_LIMITS": SELDOM}
    done = subprocess.run(
        [*COUNTER, f"--callgrind-out-file={hub.folder}/counts", *_script(hub.folder)],
        env=hub.environment | surroundings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=dict[str, Cost])


def _script(folder: Path) -> tuple[str, ...]:
    return sys.executable, "-m", "tests.speed.call_path", str(folder)


@pytest.mark.parametrize("era", ERAS)
def test_a_call_costs_no_more_than_was_recorded(era: str, costs: dict[str, Cost]) -> None:
    assert costs[era].instructions <= SLACK * RECORDED[era], costs


@pytest.mark.parametrize("era", ERAS)
def test_a_call_leaves_nothing_to_the_garbage_collector(era: str, costs: dict[str, Cost]) -> None:
    assert costs[era].garbage < 1, costs
