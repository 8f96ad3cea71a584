"""The plain runner: a child of the hub in its own session, without isolation.

Promised: an allow-listed environment (never the hub's secrets), no core dumps, a bound on open files,
the last 64 KiB of standard error, and no process left behind after any end of the child or of the hub
(`guardian` sees to a hub that was killed). The working directory is the hub's, so that relative paths
in a command mean what they meant where `up` was typed.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from mcphub.core import aio
from upstreams.errors import Unreachable
from upstreams.programs import program
from upstreams.runners import guardian
from upstreams.runners.base import Command
from upstreams.runners.files import LentFiles, remove

HOST_VARIABLES: Final = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TERM",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "UV_SYSTEM_CERTS",
        "NODE_EXTRA_CA_CERTS",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "SYSTEMROOT",
        "COMSPEC",
        "PATHEXT",
        "APPDATA",
        "LOCALAPPDATA",
        "USERPROFILE",
    ]
)
COMES_WITH: Final = {
    "npx": "Node.js",
    "npm": "Node.js",
    "node": "Node.js",
    "uvx": "uv",
    "uv": "uv",
    "docker": "Docker",
    "bunx": "Bun",
    "deno": "Deno",
}
OPEN_FILES: Final = 4096
CHUNK: Final = 64 * 1024
PIPES_S: Final = 1


def child_environment(own: Mapping[str, str], mark: str) -> dict[str, str]:
    """What a child sees: a short list of the host's variables, the upstream's own, and the hub's mark."""
    host = {name: os.environ[name] for name in HOST_VARIABLES if name in os.environ}
    return {**host, **own, guardian.VARIABLE: mark}


class SubprocessRunner:
    """Starts children of this process. One per hub process, since it owns the guardian."""

    level: Final = "subprocess"

    def __init__(self, *, stderr_bytes: int, grace_s: float, files: Path) -> None:
        self._stderr_bytes = stderr_bytes
        self._grace_s = grace_s
        self._mark = secrets.token_hex(16)
        self._files = LentFiles(files, self._mark)
        self._guardian: subprocess.Popen[bytes] | None = None
        self._started = 0

    async def start(self, command: Command) -> "ChildProcess":
        self._started += 1
        mark = f"{self._mark}:{self._started}:"
        command, lent = await self._lent(command, str(self._started))
        env = child_environment(command.env, mark)
        try:
            child = await self._child(command.argv, env)
        except BaseException:
            await _give_back(lent)
            raise
        self._tell(f"+{child.pid}\n")
        _limit(child.pid)
        return ChildProcess(self, child, mark, self._stderr_bytes, self._grace_s, lent)

    async def _lent(self, command: Command, name: str) -> tuple[Command, Path | None]:
        if not command.files:
            return command, None
        try:
            return await aio.in_thread(self._files.lend, command, name)
        except OSError as error:
            raise Unreachable(f"Its files cannot be written: {error.strerror}.") from error

    async def _child(self, argv: Sequence[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
        program = _find(argv[0], env)
        self._watch()
        try:
            return await asyncio.create_subprocess_exec(
                program,
                *argv[1:],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                start_new_session=True,
                limit=CHUNK,
            )
        except OSError as error:
            raise Unreachable(f"The command {argv[0]} cannot be started: {error.strerror}.") from error

    def gone(self, pid: int) -> None:
        """The child and its group have ended: the guardian need not look after them any more."""
        self._tell(f"-{pid}\n")

    async def close(self) -> None:
        watcher, self._guardian = self._guardian, None
        if watcher is not None and watcher.stdin is not None:
            watcher.stdin.close()
            await aio.in_thread(watcher.wait)
        self._files.close()

    def _watch(self) -> None:
        if self._guardian is None or self._guardian.poll() is not None:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(guardian.__file__)), self._mark, str(self._files.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )

    def _tell(self, line: str) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            with suppress(BrokenPipeError):
                self._guardian.stdin.write(line.encode())
                self._guardian.stdin.flush()


async def _give_back(lent: Path | None) -> None:
    if lent is not None:
        await aio.in_thread(remove, lent)


def _find(command: str, env: Mapping[str, str]) -> str:
    found = program(command, env.get("PATH"))
    if found is None:
        name = Path(command).name
        hint = f" It comes with {COMES_WITH[name]}." if name in COMES_WITH else ""
        raise Unreachable(f"The command {command} is not installed on this machine or not executable.{hint}")
    return found


def _limit(pid: int) -> None:
    if sys.platform != "linux":
        return
    import resource

    with suppress(OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))


async def exited(pid: int) -> None:
    """Wait until a child has ended, whatever still holds its pipes (Linux)."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(handle, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


class ChildProcess:
    """One child with its pipes. Everything that carries its mark ends with it."""

    def __init__(
        self,
        runner: SubprocessRunner,
        child: asyncio.subprocess.Process,
        mark: str,
        stderr_bytes: int,
        grace_s: float,
        lent: Path | None,
    ) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self.pid = child.pid
        self._runner = runner
        self._child = child
        self._stdin = child.stdin
        self._stdout = child.stdout
        self._mark = mark
        self._grace_s = grace_s
        self._lent = lent
        self._stderr = bytearray()
        self._stderr_bytes = stderr_bytes
        self._drain = aio.spawn(self._keep_stderr(child.stderr), name="stdio-stderr")
        self._reap = aio.spawn(self._clean_up(), name="stdio-reaper")

    async def read(self) -> bytes:
        return await self._stdout.read(CHUNK)

    async def write(self, data: bytes) -> None:
        if self._stdin.is_closing():
            raise BrokenPipeError
        self._stdin.write(data)
        await self._stdin.drain()

    def stderr_tail(self) -> str:
        return bytes(self._stderr).decode("utf-8", "replace")

    async def ended(self) -> str:
        await asyncio.shield(self._reap)
        code = self._child.returncode
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    async def stop(self) -> None:
        self._stdin.close()
        for patience, sign in ((self._grace_s / 2, signal.SIGTERM), (self._grace_s / 2, signal.SIGKILL)):
            try:
                await asyncio.wait_for(asyncio.shield(self._reap), patience)
            except TimeoutError:
                self._signal(sign)
        await asyncio.shield(self._reap)

    def _signal(self, sign: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, sign)

    async def _keep_stderr(self, pipe: asyncio.StreamReader) -> None:
        while piece := await pipe.read(CHUNK):
            self._stderr += piece
            del self._stderr[: -self._stderr_bytes]

    async def _clean_up(self) -> None:
        """Wait for the child, then end what it left behind, so that pipes close and nobody is orphaned.

        `Process.wait` alone would wait for whoever still holds the child's pipes.
        """
        await (exited(self.pid) if hasattr(os, "pidfd_open") else self._child.wait())
        self._signal(signal.SIGKILL)
        await aio.in_thread(guardian.kill_marked, self._mark)
        await _give_back(self._lent)
        with suppress(TimeoutError):  # it also waits for the end of pipes, which one that nobody reads does not have
            await asyncio.wait_for(self._child.wait(), PIPES_S)
        self._runner.gone(self.pid)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._drain), 1)
