"""How a stdio upstream is executed. A runner starts one process; the transport speaks over its pipes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from upstreams.secretfiles import SecretFile


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: an argument list (never a shell line) and the only variables added to its environment.

    `files` are secret files by variable: the runner puts them where only the process can read them, and their paths
    in place of the marks that stand for them (`upstreams.secretfiles.with_paths`).
    """

    argv: tuple[str, ...] = field(repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, SecretFile] = field(default_factory=dict, repr=False)


class Process(Protocol):
    """A running upstream: bytes in, bytes out, and what it complained about."""

    async def read(self) -> bytes:
        """The next piece of its standard output, of any size; b"" once it has ended."""

    async def write(self, data: bytes) -> None:
        """Hand `data` to its standard input, waiting while the pipe is full. Raises `OSError` when it is gone."""

    def stderr_tail(self) -> str:
        """The last lines it wrote to standard error, bounded."""

    async def ended(self) -> str:
        """Wait until it has ended and say how, for people: "exit code 3", "signal SIGKILL"."""

    async def stop(self) -> None:
        """End it and everything it started: a closed input first, then signals. Safe to call twice."""


class Runner(Protocol):
    """Starts processes at one level of isolation."""

    @property
    def level(self) -> str:
        """What is promised of isolation: `none` for a plain subprocess."""

    async def start(self, command: Command) -> Process:
        """Raises `Unreachable` that names a missing command or says why it cannot start."""

    async def close(self) -> None:
        """Release what the runner itself holds, after its processes were stopped."""
