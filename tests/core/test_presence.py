"""Processes of this machine that have ended, and only those, are known to have."""

import fcntl
import os
import signal
import sys
from pathlib import Path

import pytest

from mcphub.core.presence import OLD_S, Presence
from tests.harness.processes import Process
from tests.harness.waiting import until

SHOWN = """
import signal, sys
from pathlib import Path
from mcphub.core.presence import Presence
Presence(Path(sys.argv[1]), "other").begin()
print("shown", flush=True)
signal.pause()
"""


@pytest.fixture
def own(tmp_path: Path) -> Presence:
    return Presence(tmp_path, "own")


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*/*"))


@pytest.mark.requirement("X6")
def test_the_end_of_a_killed_process_is_certain_and_nothing_else_is(tmp_path: Path, own: Presence) -> None:
    own.begin()
    assert not own.has_ended("other"), "nobody has heard of it"
    other = Process([sys.executable, "-c", SHOWN, str(tmp_path)], tmp_path / "log")
    until("its presence", lambda: "shown" in other.output or other.expect_running())
    assert not own.has_ended("other")
    other.send(signal.SIGSTOP)
    assert not own.has_ended("other")
    other.stop(signal.SIGKILL)
    assert own.has_ended("other")
    assert not own.has_ended("own")


def test_who_leaves_in_order_leaves_no_trace(tmp_path: Path, own: Presence) -> None:
    own.begin()
    assert files(tmp_path) == ["own"]
    own.end()
    assert files(tmp_path) == []


def test_files_of_processes_that_ended_long_ago_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "of another start of the machine"
    folder.mkdir()
    old, new, held = folder / "old", folder / "new", folder / "held"
    for file in (old, new, held):
        file.touch()
    with held.open() as holding:
        fcntl.flock(holding, fcntl.LOCK_EX)
        for file in (old, held):
            os.utime(file, (then := file.stat().st_mtime - OLD_S - 1, then))
        Presence(tmp_path, "own").begin()
    assert files(tmp_path) == ["held", "new", "own"]


def test_without_a_folder_nothing_is_known(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    presence = Presence(blocked, "own")
    presence.begin()
    assert not presence.has_ended("own")
    presence.end()
