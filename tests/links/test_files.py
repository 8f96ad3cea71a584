"""Secret files of a command: for its process alone, and as long as that lives."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from tests.links.conftest import MemoryBook
from tests.links.test_stdio import call, odd
from upstreams.connections import Connections
from upstreams.runners.base import Command
from upstreams.runners.files import LentFiles
from upstreams.secretfiles import SecretFile, mark
from upstreams.types import UpstreamSpec

CONTENT = b'{"private": "canary-file"}'


def with_file() -> UpstreamSpec:
    return odd(
        env={"KEY_AT": f"at {mark('KEY')}"},
        files={"KEY": SecretFile("key.json", CONTENT)},
        revision=7,
    )


@pytest.mark.requirement("U7")
async def test_process_reads_its_file_and_nobody_else_may(hub: Connections, book: MemoryBook) -> None:
    upstream = with_file()
    path = Path((await call(hub, upstream, "environment"))["KEY_AT"].removeprefix("at "))
    assert path.name == "key.json"
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in path.parents[:3]} == {0o700}
    os.kill((await call(hub, upstream, "echo"))["pid"], 9)
    await book.until(lambda: not path.exists())
    after = Path((await call(hub, upstream, "environment"))["KEY_AT"].removeprefix("at "))
    assert after != path
    await hub.stop()
    assert not after.exists()
    assert not after.parents[2].exists()


def test_what_a_killed_hub_left_goes_with_the_next_start_and_what_another_holds_stays(tmp_path: Path) -> None:
    command = Command(("sh",), {}, {"KEY": SecretFile("key", CONTENT)})
    other = LentFiles(tmp_path, "other")
    _, held = other.lend(command, "1")
    left = tmp_path / "dead"
    (left / "1" / "KEY").mkdir(parents=True)
    (left / "1" / "KEY" / "key").write_bytes(CONTENT)
    (left / ".lock").touch()
    LentFiles(tmp_path, "new")
    assert not left.exists()
    assert held is not None
    assert held.exists()
    with (tmp_path / "other" / ".lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    other.close()
    assert list(tmp_path.iterdir()) == []
