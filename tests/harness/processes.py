"""Child processes of the tests: their output in a file, their end by process id."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.harness.waiting import until

STOP_S: Final = 40


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A program that runs beside the test, both of its streams written to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.log: Final = log
        self._offset: Final = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            self._popen: Final = subprocess.Popen(
                list(command),
                env=dict(env) if env is not None else None,
                cwd=cwd,
                user=user,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid: Final = self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._popen.poll()

    @property
    def output(self) -> str:
        """What this run has written so far."""
        with self.log.open("rb") as stream:
            stream.seek(self._offset)
            return stream.read().decode(errors="replace")

    def expect_running(self) -> None:
        """Raise with the program's own output when it has ended."""
        if self.exit_code is not None:
            raise AssertionError(f"ended with {self.exit_code}:\n{self.output[-4000:]}")

    def wait(self, within: float = STOP_S) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        return self._popen.wait(within)

    def send(self, number: signal.Signals) -> None:
        """Send a signal unless it has ended."""
        if self.exit_code is None:
            self._popen.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit code; what ignores the signal for too long is killed, and that is a failure."""
        self.send(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            raise AssertionError(f"did not end after {number.name}:\n{self.output[-4000:]}") from None


def children(pid: int) -> set[int]:
    """Every living descendant of a process."""
    parents = {int(entry): parent(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
    found: set[int] = set()
    grown = {pid}
    while grown:
        grown = {child for child, parent in parents.items() if parent in grown} - found
        found |= grown
    return found


def parent(pid: int) -> int | None:
    """Its parent; None when it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def age_s(pid: int) -> float:
    """How long ago a living process began, in seconds."""
    began = int(_stat(pid)[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - began


def alive(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be reaped."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command name: state, parent, … Empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def until_gone(pids: set[int], within: float = 10) -> None:
    """Wait until none of the processes lives."""
    until("the end of all child processes", lambda: not any(alive(pid) for pid in pids), within)
