"""The standalone hub: web, worker and beat in one process, on Daphne."""

import asyncio
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from gateway.server.daphne import DrainingServer
from gateway.server.drain import drain
from mcphub import asgi
from mcphub.accounts.models import Org
from mcphub.core.aio import cancel, in_thread, spawn
from mcphub.standalone.hotreload import follow
from mcphub.standalone.workers import EmbeddedWorkers


@dataclass(slots=True)
class Hub:
    """One run. `welcome` is called once it serves; `servers_file` is followed while it runs."""

    sock: socket.socket
    welcome: Callable[[], None]
    org: Org
    servers_file: Path | None = None
    certfile: str | None = None
    keyfile: str | None = None

    def run(self) -> None:
        """Serve until a signal, then drain."""
        workers = EmbeddedWorkers()
        watcher: list[asyncio.Task[None]] = []

        async def start() -> None:
            await asgi.start()
            workers.start()
            if self.servers_file is not None:
                watcher.append(await self._watch(self.servers_file))
            self.welcome()

        async def stop() -> None:
            await cancel(*watcher)
            await asgi.stop()
            await in_thread(workers.stop)

        server = DrainingServer(asgi.application, drain(), settings.HUB.limits, self.sock, start, stop)
        try:
            server.run(self.certfile, self.keyfile)
        finally:
            if settings.START.ephemeral:
                shutil.rmtree(settings.HUB.data_dir, ignore_errors=True)

    async def _watch(self, path: Path) -> "asyncio.Task[None]":
        started = asyncio.Event()
        task = spawn(follow(self.org, path, started), name="hot-reload")
        await started.wait()
        return task
