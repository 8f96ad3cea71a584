"""The standalone hub: web, worker and beat in one process, on Daphne."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from gateway.server.daphne import DrainingServer
from gateway.server.doors import open_doors
from gateway.server.drain import drain
from mcphub import asgi
from mcphub.core.aio import cancel, in_thread, spawn
from mcphub.standalone.hotreload import follow
from upstreams.services import SyncReport

if TYPE_CHECKING:
    from mcphub.standalone.workers import EmbeddedWorkers


@dataclass(slots=True)
class Hub:
    """One run. `welcome` is called in a thread once all is well.

    `servers_file` is followed while it runs: `take_over` is called in a thread at each of its changes.
    """

    sock: socket.socket
    welcome: Callable[[], None]
    take_over: Callable[[], SyncReport]
    servers_file: Path | None = None
    certfile: str | None = None
    keyfile: str | None = None
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _workers: "EmbeddedWorkers | None" = None

    def run(self) -> None:
        """Serve until a signal, then drain."""
        limits = settings.HUB.limits
        doors = open_doors(limits, settings.HUB.trusted_proxies)
        server = DrainingServer(asgi.application, drain(), limits, doors, self.sock, self._start, self._stop)
        server.run(self.certfile, self.keyfile)

    async def _start(self) -> None:
        await asgi.start()
        if self.servers_file is not None:
            await self._watch(self.servers_file)
        await in_thread(self.welcome)
        self._tasks.append(spawn(in_thread(self._start_workers), name="start-workers"))

    def _start_workers(self) -> None:
        from mcphub.standalone.workers import EmbeddedWorkers  # Celery loads while the hub serves already

        self._workers = EmbeddedWorkers()
        self._workers.start()

    async def _watch(self, path: Path) -> None:
        started = asyncio.Event()
        self._tasks.append(spawn(follow(path, self.take_over, started), name="hot-reload"))
        await started.wait()

    async def _stop(self) -> None:
        await cancel(*self._tasks)
        await asgi.stop()
        if self._workers is not None:
            await in_thread(self._workers.stop)
