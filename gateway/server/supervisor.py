"""`serve --workers N`: N processes on one listening socket, watched by this one."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Final

import structlog

SOCKET_VARIABLE: Final = "_MCPHUB_SOCKET"
"""Tells a worker two file descriptors: the listening socket, and a pipe that closes with its supervisor: `A:B`."""

SHORT_LIFE_S: Final = 5
PAUSE_S: Final = 1
LOOK_S: Final = 0.2

log = structlog.get_logger(__name__)


class Supervisor:
    """Starts the workers, starts anew one that dies, passes SIGTERM and SIGINT on and waits for all.

    A worker that ends by itself within seconds of its first start ends everything: it would do so again.
    """

    def __init__(self, sock: socket.socket, count: int) -> None:
        self._socket: Final = sock
        self._workers: dict[subprocess.Popen[bytes], float] = {}
        self._count: Final = count
        self._signal: signal.Signals | None = None
        self._proved = False
        self._lifeline: Final = os.pipe()
        self._counts: Final = tempfile.TemporaryDirectory(prefix="mcphub-metrics-")

    def run(self) -> int:
        """The exit code: 0 when a signal ended it and every worker drained."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        for _ in range(self._count):
            self._start()
        code = 0
        while self._signal is None and not code:
            time.sleep(LOOK_S)
            code = self._replace_dead()
        if code:
            self._pass_on(signal.SIGTERM, None)
        with self._counts:
            return max([code, *(worker.wait() for worker in self._workers)], key=abs)

    def _start(self) -> None:
        handed_on = (self._socket.fileno(), self._lifeline[0])
        environment = {**os.environ, SOCKET_VARIABLE: "{}:{}".format(*handed_on)}
        environment["PROMETHEUS_MULTIPROC_DIR"] = self._counts.name
        worker = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environment, pass_fds=handed_on)
        self._workers[worker] = time.monotonic()
        if self._signal is not None:  # it came while this one was not among those who are told
            worker.send_signal(signal.SIGTERM)

    def _replace_dead(self) -> int:
        """Start dead workers anew; the exit code of one that died at its start, else 0."""
        moment = time.monotonic()
        self._proved = self._proved or any(moment - begun > SHORT_LIFE_S for begun in self._workers.values())
        for worker, begun in list(self._workers.items()):
            code = worker.poll()
            if code is None:
                continue
            if self._signal is not None:
                return 0
            del self._workers[worker]
            if not self._proved:
                return code or 1
            log.error("web_worker_died", pid=worker.pid, exit_code=code)
            if moment - begun < SHORT_LIFE_S:
                time.sleep(PAUSE_S)
            if self._signal is None:
                self._start()
        return 0

    def _pass_on(self, number: int, _frame: object) -> None:
        self._signal = signal.Signals(number)
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)


def inherited() -> socket.socket | None:
    """In a worker: the listening socket of its supervisor, whose death will be a SIGTERM. None elsewhere."""
    given = os.environ.pop(SOCKET_VARIABLE, None)
    if given is None:
        return None
    listening, lifeline = map(int, given.split(":"))
    threading.Thread(target=_end_with, args=(lifeline,), name="lifeline", daemon=True).start()
    sock = socket.socket(fileno=listening)
    sock.setblocking(False)
    return sock


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
