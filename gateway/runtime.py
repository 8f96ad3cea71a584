"""Everything of the gateway that lives as long as the process: snapshot, connections, audit writer, edge."""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from django.conf import settings

from audit.flood import Denials
from audit.writer import writer
from gateway.core import Core
from gateway.edge.app import EdgeApp
from gateway.edge.config import EdgeConfig
from gateway.pipeline import Pipeline
from gateway.snapshot import Snapshots
from gateway.types import SessionRef
from mcphub.core import aio
from upstreams.connections import Connections
from upstreams.probe import Means
from upstreams.rowbook import RowBook
from upstreams.runners.subprocess import SubprocessRunner

SWEEP_S: Final = 5
"""How often windows of denials that ended are written down, in seconds."""


class Runtime:
    """Started by the server (lifespan, or when it is ready), stopped after the last answer."""

    def __init__(self) -> None:
        self.snapshots: Final = Snapshots()
        self.connections: Final = Connections(_means(), RowBook())
        self.denials: Final = Denials(writer().record_soon)
        self.pipeline: Final = Pipeline(self.connections, writer(), self.denials, settings.HUB.limits)
        self.core: Final = Core(self.snapshots, self.connections, self.pipeline)
        self.edge_app: Final = EdgeApp(self.core, EdgeConfig.of(settings.HUB, settings.START.script_name))
        self.core.news.sessions = self.edge_app.sessions
        self.connections.on_notice = self._noticed
        self.connections.on_catalogue_changed = self.core.resources.outdated
        self.snapshots.live.on_change = self.core.news.lists.changed
        self.edge_app.sessions.on_ended.append(self._session_ended)
        self._sweeper: asyncio.Task[None] | None = None
        self.snapshots.on_change += (self._follow, self.core.news.lists.changed)

    async def start(self) -> None:
        """Load the snapshot and start the enabled upstreams; returns without waiting for any of them."""
        writer().start()
        await self.connections.start()
        await self.snapshots.start()
        await self.edge_app.start()
        self._sweeper = aio.spawn(self._sweep_denials(), name="sweep-denials")

    async def stop(self) -> None:
        """End every connection and child, then write what the record still owes."""
        await self.core.news.lists.stop()
        self.pipeline.parking.stop()
        await self.edge_app.stop()
        await self.snapshots.stop()
        await self.connections.stop()
        if self._sweeper is not None:
            await aio.cancel(self._sweeper)
        self.denials.close()
        await aio.in_thread(writer().stop)

    def is_ready(self) -> bool:
        """Whether this process can decide calls now."""
        return self.snapshots.is_loaded()

    async def _sweep_denials(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.denials.sweep()

    def _noticed(self, upstream_id: str, holder: str, method: str, params: Mapping[str, Any]) -> None:
        if method == "notifications/resources/list_changed":
            self.core.resources.outdated(upstream_id)
        self.core.news.noticed(upstream_id, holder, method, params)

    def _session_ended(self, session: SessionRef) -> None:
        self.core.news.session_ended(session)
        aio.spawn(self.connections.release(session.id), name="release-session")

    def _follow(self) -> None:
        self.connections.set_specs(
            spec for snapshot in self.snapshots.orgs.values() for spec in snapshot.specs.values()
        )


def _means() -> Means:
    limits = settings.HUB.limits
    runner = SubprocessRunner(stderr_bytes=limits.stderr_bytes, grace_s=limits.stop_grace_s)
    return Means(limits, runner, settings.HUB.egress_allow)


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """The runtime of this process."""
    return Runtime()
