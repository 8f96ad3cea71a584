"""Private PostgreSQL and Redis servers: own folder, own port, nothing shared with the machine's."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, LiteralString

import psycopg
import pytest
import redis

from tests.harness.processes import Process, children, free_port
from tests.harness.waiting import until

DEBIAN_POSTGRESQL: Final = Path("/usr/lib/postgresql")


def program(name: str) -> str:
    """The full path of a program, on PATH or where Debian keeps PostgreSQL's. Skips the test when it is missing."""
    places = [os.environ["PATH"], *(str(path) for path in sorted(DEBIAN_POSTGRESQL.glob("*/bin"), reverse=True))]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"{name} is not installed", allow_module_level=True)
    return found


class PostgreSQL:
    """A server that can be stopped and started again; its data lasts until `close`."""

    def __init__(self) -> None:
        self._user: Final = _unprivileged()
        self._folder: Final = Path(tempfile.mkdtemp(prefix="mcphub-postgresql-"))
        self._data: Final = self._folder / "data"
        self._process: Process | None = None
        self.port: Final = free_port()
        self.url: Final = f"postgresql://hub@127.0.0.1:{self.port}/hub"

    def start(self) -> None:
        """Make the database on the first start; return when it answers."""
        first = not self._data.exists()
        if first:
            self._initialise()
        command = [program("postgres"), "-D", str(self._data), "-p", str(self.port), "-k", str(self._folder)]
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200"]
        self._process = Process([*command, *options], self._folder / "log", user=self._user)
        until("PostgreSQL's answer", self._answers, 20)
        if first:
            with psycopg.connect(self._admin_url, autocommit=True) as connection:
                connection.execute("CREATE DATABASE hub")

    def stop(self) -> None:
        """End it at once, as a crash of its machine would: sessions are cut, committed data is kept."""
        if self._process is not None:
            self._process.stop(signal.SIGQUIT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Accepts connections and answers nobody meanwhile."""
        assert self._process is not None
        everybody = {self._process.pid, *children(self._process.pid)}
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in everybody:
                os.kill(pid, signal.SIGCONT)

    def execute(self, *statements: LiteralString) -> None:
        """Carry out statements in the hub's database, each for itself."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def close(self) -> None:
        """Stop, and forget the data."""
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def _admin_url(self) -> str:
        return f"postgresql://hub@127.0.0.1:{self.port}/postgres"

    def _initialise(self) -> None:
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        subprocess.run(
            [
                program("initdb"),
                "-D",
                self._data,
                "-U",
                "hub",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            user=self._user,
            cwd="/",
        )

    def _answers(self) -> bool:
        assert self._process is not None
        self._process.expect_running()
        try:
            psycopg.connect(self._admin_url, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root: the account to use then."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


class Redis:
    """A server without persistence."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self._process: Process | None = None
        self.port: Final = free_port()
        self.url: Final = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        options = ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process = Process([*command, *options], self._folder / "log")
        until("Redis's answer", self._answers, 10)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def _answers(self) -> bool:
        assert self._process is not None
        self._process.expect_running()
        try:
            return bool(redis.Redis(port=self.port).ping())
        except redis.ConnectionError:
            return False
