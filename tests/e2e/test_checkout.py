"""What a stranger does first: clone, `make up`, paste the snippet, `make test`; with uv on PATH and without."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.hub import READY_S, ROOT
from tests.harness.processes import Process, children, free_port, until_gone
from tests.harness.waiting import until


class Checkout:
    """A copy of what git would hand out, used under an environment that holds nothing but PATH and HOME."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder: Final = folder / "checkout"
        self._started: Final[list[Process]] = []
        self.environment: Final = {"PATH": path, "HOME": str(folder)}
        self.port: Final = free_port()
        self.url: Final = f"http://127.0.0.1:{self.port}"
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name)

    def make(self, *arguments: str) -> Process:
        command = [shutil.which("make") or "make", *arguments]
        process = Process(command, self.folder.parent / "log", env=self.environment, cwd=self.folder)
        self._started.append(process)
        return process

    def close(self) -> None:
        """End whatever a failed test has left."""
        for process in self._started:
            for pid in {process.pid, *children(process.pid)} if process.exit_code is None else ():
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder.parent)

    def up(self) -> Process:
        """`make up`, once the hub is ready."""
        process = self.make("up", f"ARGS=--port {self.port}")
        until("the hub's readiness", lambda: _ready(process, self.url), READY_S)
        return process


def _ready(process: Process, url: str) -> bool:
    process.expect_running()
    try:
        return httpx.get(f"{url}/ready", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _has_uv(folder: str) -> bool:
    return (Path(folder) / "uv").exists()


@pytest.fixture(params=["with uv", "without uv"], scope="module")
def checkout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    folder = tmp_path_factory.mktemp("stranger")
    places = [place for place in os.environ["PATH"].split(os.pathsep) if not _has_uv(place)]
    if request.param == "with uv":
        uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".venv" / "bin"))
        if uv is None:
            pytest.skip("uv is not installed")
        (folder / "bin").mkdir()
        (folder / "bin" / "uv").symlink_to(uv)
        places.insert(0, str(folder / "bin"))
    checkout = Checkout(folder, os.pathsep.join(places))
    yield checkout
    checkout.close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT reaches what the test starts, also when whoever started the suite had switched the signal off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.requirement("X8", "X14")
async def test_two_commands_are_enough(checkout: Checkout, interruptible: None):
    first = checkout.up()
    printed = first.output
    assert f"{checkout.url}/mcp" in printed
    for mode in BOTH_ERAS:
        await _paste(printed, mode)
    assert _interrupt(first) == -signal.SIGINT
    assert "Error" not in first.output

    second = checkout.up()
    (hub,) = children(second.pid)
    os.kill(hub, signal.SIGTERM)
    assert second.wait() == 0

    suite = checkout.make("test", "ARGS=tests/test_requirements.py tests/core")
    assert suite.wait(600) == 0
    assert re.search(r"\d+ passed", suite.output)


def _interrupt(make: Process) -> int:
    """End `make` and the hub below it as Ctrl-C does; make itself always ends by that signal."""
    below = children(make.pid)
    os.killpg(make.pid, signal.SIGINT)
    code = make.wait()
    until_gone(below)
    return code


async def _paste(printed: str, mode: Mode) -> None:
    """Connect with nothing but the client snippet that was printed."""
    entry = _snippet(printed)
    key = entry["headers"]["Authorization"].removeprefix("Bearer ")
    async with python_client(entry["url"], key, mode) as client:
        assert (await client.list_tools()).tools == []


def _snippet(printed: str) -> dict[str, Any]:
    """The entry of the `mcpServers` object that stands in the output."""
    start = printed.index("{", printed.index("mcpServers") - 20)
    document, _ = json.JSONDecoder().raw_decode(printed, start)
    (entry,) = document["mcpServers"].values()
    return dict(entry)


def test_busy_port_is_a_plain_sentence(tmp_path: Path):
    environment = {**os.environ, "MCPHUB_DATA_DIR": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = ["make", "up", f"ARGS=--port {port}"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr
