"""A SQLite that is locked, a disk that is full or takes nothing at all: no call without a record, and back again."""

import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Final

import httpx
import pytest

from tests.faults.storage import Outage, Stored, expect_503, stored
from tests.harness.raw import ERAS, Era, raw_client

REFUSED_S: Final = 6
"""SQLite is waited for 5 s (PROMISES, F28), and the answer takes its own moment."""

DISK_MB: Final = 24


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A hub on a small disk of its own."""
    folder = tmp_path_factory.mktemp("disk")
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        with stored("up-sqlite", folder) as hub:
            yield hub
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def locked(at: Stored) -> Iterator[None]:
    """Somebody else is writing, and does not come to an end."""
    with closing(sqlite3.connect(at.hub.database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


@contextmanager
def full(at: Stored) -> Iterator[None]:
    """Not a byte is left on the disk, nor in a log that would be written over."""
    with closing(sqlite3.connect(at.hub.database)) as database:
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    filler = at.hub.folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    yield
    filler.unlink()


@contextmanager
def unwritable(at: Stored) -> Iterator[None]:
    """The process can write no byte to any file, its log included: what a disk does that has become read-only."""
    _, most = resource.prlimit(at.hub.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(at.hub.process.pid, resource.RLIMIT_FSIZE, (0, most))
    yield
    resource.prlimit(at.hub.process.pid, resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.requirement("F28", "F29")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("fault", [locked, full, unwritable], ids=["F28-locked", "F29-full", "F29-unwritable"])
async def test_storage_that_takes_nothing_stops_calls_in_time_and_for_its_time_only(
    at: Stored, era: Era, fault: Callable[[Stored], AbstractContextManager[None]]
):
    outage = Outage(at)
    async with raw_client(at.hub.mcp_url, at.hub.key, era) as client:
        with fault(at):
            assert await outage.expect_refused(client, REFUSED_S) == {"audit_unavailable"}
            await expect_503(at.hub, REFUSED_S)
            assert httpx.get(f"{at.hub.url}/live").status_code == httpx.codes.OK
    outage.expect_back()
