"""Everything of the gateway that lives as long as the process: snapshot, connections, audit writer, edge."""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from django.conf import settings

from audit.flood import Denials
from audit.writer import writer
from gateway.authserver.prover import TokenProver
from gateway.authserver.service_tokens import ServiceTokenProver
from gateway.core import Core
from gateway.edge.app import EdgeApp
from gateway.edge.config import EdgeConfig
from gateway.external.prover import ExternalProver
from gateway.handing import Handing
from gateway.neighbours import Neighbours
from gateway.pipeline import Pipeline
from gateway.rates import RateLimiter
from gateway.snapshot import Snapshots
from mcphub.core import aio
from mcphub.core.env import is_scaled
from mcphub.core.presence import Presence
from mcphub.core.workers import Workers, new_worker_id
from upstreams.connections import Connections
from upstreams.fleet import Fleet
from upstreams.owners import Owners
from upstreams.probe import Means
from upstreams.rowbook import RowBook
from upstreams.runners.subprocess import SubprocessRunner

SWEEP_S: Final = 5
"""How often windows of denials that ended are written down, in seconds."""


FINISH_S: Final = 5
"""How long the calls that other workers run on this one's connections may still take when it stops, in seconds."""


class Runtime:
    """Started by the server (lifespan, or when it is ready), stopped after the last answer."""

    def __init__(self) -> None:
        self.workers: Final = _workers()
        self.connections: Final = _connections(self.workers)
        self.snapshots: Final = Snapshots(self.connections.vault)
        self.denials: Final = Denials(writer().record_soon)
        handing = Handing(self.workers)
        self.rates: Final = RateLimiter("" if self.workers.alone else settings.HUB.redis_url)
        self.pipeline: Final = Pipeline(
            self.connections, writer(), self.denials, settings.HUB.limits, handing, self.rates
        )
        provers = (TokenProver(self.snapshots), ServiceTokenProver(self.snapshots), ExternalProver(self.snapshots))
        self.core: Final = Core(self.snapshots, self.connections, self.pipeline, provers)
        config = EdgeConfig.of(settings.HUB, settings.START.script_name)
        self.edge_app: Final = EdgeApp(self.core, config, self.workers)
        self.core.news.sessions = self.edge_app.sessions
        self.pipeline.pages.push = self.edge_app.sessions.push
        self.connections.on_notice = self._noticed
        self.connections.on_return = self.core.news.upstream_returned
        self.connections.on_catalogue_changed = self.core.resources.outdated
        self.snapshots.live.on_change = self.core.news.lists.changed
        handing.answer_with(self.core.handle)
        if not self.workers.alone:
            Neighbours(self.workers, self.edge_app.sessions, self.core.news)
        self.edge_app.sessions.on_ended.append(self._session_ended)
        self._sweeper: asyncio.Task[None] | None = None
        self.snapshots.on_change += (self._follow, self.core.news.lists.changed)

    async def start(self) -> None:
        """Load the snapshot and start the enabled upstreams; returns without waiting for any of them."""
        writer().start()
        await self.workers.start()
        await self.connections.start()
        await self.snapshots.start()
        await self.edge_app.start()
        self._sweeper = aio.spawn(self._sweep_denials(), name="sweep-denials")

    async def stop(self) -> None:
        """End every connection and child, then write what the record still owes."""
        await self.core.news.lists.stop()
        await self.pipeline.parking.stop()
        await self.pipeline.approving.stop()
        await self.edge_app.stop()
        await self.snapshots.stop()
        await self.workers.finish(FINISH_S)
        await self.connections.stop()
        await self.workers.stop()
        await self.rates.stop()
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

    def _session_ended(self, session_id: str) -> None:
        self.core.news.session_ended(session_id)
        aio.spawn(self.connections.release(session_id), name="release-session")

    def _follow(self) -> None:
        self.connections.set_specs(
            spec for snapshot in self.snapshots.orgs.values() for spec in snapshot.specs.values()
        )


def _workers() -> Workers:
    """This process among the web processes that share its database and Redis."""
    limits = settings.HUB.limits
    own = new_worker_id()
    if not is_scaled(settings.HUB):
        return Workers(own)
    from channels.layers import get_channel_layer  # Redis costs a quarter of a second that others need not pay

    from mcphub.core.post import ChannelPost

    post, presence = ChannelPost(get_channel_layer(), own), Presence(settings.HUB.data_dir / "workers", own)
    return Workers(own, post, presence, ack_s=limits.ack_s, silent_s=limits.silent_s)


def _connections(workers: Workers) -> Connections:
    if workers.alone:
        return Connections(_means(), RowBook())
    book = RowBook(workers.own)
    lease_s = settings.HUB.limits.lease_s
    return Connections(_means(), book, Fleet(workers, Owners(workers.own, lease_s, workers.has_ended), book, lease_s))


def _means() -> Means:
    limits = settings.HUB.limits
    files = settings.HUB.data_dir / "lent"
    runner = SubprocessRunner(stderr_bytes=limits.stderr_bytes, grace_s=limits.stop_grace_s, files=files)
    return Means(limits, runner, settings.HUB.egress_allow)


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """The runtime of this process."""
    return Runtime()
