"""What the record survives: the death of its process, and a database that is locked, full, read-only or gone."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.harness.services import PostgreSQL

ROOT = Path(__file__).parents[2]
MOUNT = shutil.which("mount")


class Recorder:
    """The process of `tests/audit/recorder.py` over one database."""

    def __init__(self, folder: Path, database_url: str = "") -> None:
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MCPHUB_")},
            "DJANGO_SETTINGS_MODULE": "mcphub.settings",
            "MCPHUB_DATA_DIR": str(folder),
            "MCPHUB_DATABASE_URL": database_url,
            "MCPHUB_LIMITS": "audit_silent_s=0",
        }
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.audit.recorder"],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def heard(self) -> list[str]:
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    def one(self, call_id: str) -> tuple[str, float]:
        """Record one intent: the answer and the seconds it took."""
        self.tell(f"one {call_id}")
        answer, about, seconds = self.heard()
        assert about == call_id
        return answer, float(seconds)

    def kill(self) -> list[str]:
        """SIGKILL; returns the call ids that were durable by its own word."""
        self._process.kill()
        rest, _ = self._process.communicate()
        return [line.split()[1] for line in rest.splitlines() if line.startswith("ok ") and line.count(" ") == 2]

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.communicate("stop\n", timeout=20)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self._env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def ram_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if MOUNT is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def make(folder: Path = tmp_path, database_url: str = "") -> Recorder:
        recorder = Recorder(folder, database_url)
        recorder.manage("migrate", "-v0")
        made.append(recorder)
        return recorder

    yield make
    for recorder in made:
        recorder.end()


def stored_on_sqlite(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "mcphub.sqlite3") as connection:
        return {row[0] for row in connection.execute("SELECT call_id FROM audit_auditevent WHERE kind = 'intent'")}


def stored_on_postgresql(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT call_id FROM audit_auditevent WHERE kind = 'intent'")}


def killed_thrice(recorder: Recorder, stored: Callable[[], set[str]]) -> None:
    promised: set[str] = set()
    for _ in range(3):
        recorder.tell("flood")
        assert recorder.heard()
        time.sleep(random.uniform(0.05, 0.3))  # the moment of death is the point
        said = recorder.kill()
        assert said
        promised.update(said)
        recorder.start()
    assert promised <= stored()
    assert json.loads(recorder.manage("verify_audit", "--json"))["ok"]


@pytest.mark.requirement("A2")
def test_no_durable_intent_is_lost_to_sigkill(make: Callable[..., Recorder], tmp_path: Path) -> None:
    killed_thrice(make(), lambda: stored_on_sqlite(tmp_path))


@pytest.mark.requirement("A2")
def test_no_durable_intent_is_lost_to_sigkill_on_postgresql(
    make: Callable[..., Recorder], postgresql: PostgreSQL
) -> None:
    killed_thrice(make(database_url=postgresql.url), lambda: stored_on_postgresql(postgresql.url))


def test_locked_database_refuses_within_the_limit_and_comes_back(
    make: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = make()
    assert recorder.one("before")[0] == "ok"
    with sqlite3.connect(tmp_path / "mcphub.sqlite3", isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        answer, seconds = recorder.one("during")
        assert answer == "unavailable"
        assert 4.5 < seconds < 6
        holder.execute("ROLLBACK")
    assert recorder.one("after")[0] == "ok"
    recorder.end()
    assert json.loads(recorder.manage("verify_audit", "--json"))["ok"]


def test_full_disk_refuses_and_comes_back(make: Callable[..., Recorder], ram_disk: Path) -> None:
    recorder = make(ram_disk)
    assert recorder.one("before")[0] == "ok"
    filler = ram_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    answer, numbers = "ok", iter(range(10_000))
    while answer == "ok":
        answer, _ = recorder.one(f"during-{next(numbers)}")
    filler.unlink()
    assert recorder.one("after")[0] == "ok"
    recorder.end()
    assert json.loads(recorder.manage("verify_audit", "--json"))["ok"]


def test_postgresql_down_refuses_within_two_seconds_and_comes_back(
    make: Callable[..., Recorder], postgresql: PostgreSQL
) -> None:
    recorder = make(database_url=postgresql.url)
    assert recorder.one("before")[0] == "ok"
    postgresql.stop()
    answer, seconds = recorder.one("during")
    assert answer == "unavailable"
    assert seconds < 2.5
    postgresql.start()
    assert recorder.one("after")[0] == "ok"
    recorder.end()
    assert json.loads(recorder.manage("verify_audit", "--json"))["ok"]


def test_hanging_postgresql_holds_nobody(make: Callable[..., Recorder], postgresql: PostgreSQL) -> None:
    recorder = make(database_url=postgresql.url)
    assert recorder.one("before")[0] == "ok"
    with psycopg.connect(postgresql.url) as holder:
        holder.execute("LOCK TABLE audit_auditwriter IN ACCESS EXCLUSIVE MODE")
        answer, seconds = recorder.one("during")
        assert answer == "unavailable"
        assert seconds < 2.5
    assert recorder.one("after")[0] == "ok"
