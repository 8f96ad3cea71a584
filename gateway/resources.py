"""Asks upstreams for the resources they have now: at most every `LIVE_S`, once for many who ask, never for long."""

import asyncio
from typing import Final

from msgspec.structs import replace

from gateway.catalogue import Entry
from gateway.live import LiveTable
from gateway.rounds import without
from gateway.router import Reach, live_holder
from gateway.run import holder_of
from gateway.types import Request
from mcphub.core import aio, clock
from mcphub.core.limits import Limits
from policies.types import Risk
from upstreams.connections import Connections
from upstreams.discovery import Ask, read_resources
from upstreams.errors import UpstreamError
from upstreams.listing import Described, described
from upstreams.naming import public_name
from upstreams.types import Answer, ClientFacts, Exchange, UpstreamSpec

LIVE_S: Final = 2.0
ON_THE_LOOP: Final = 200
"""Lists up to this long are checked at once, longer ones in a thread."""


class LiveResources:
    """Keeps the table of live resources current for those who list."""

    def __init__(self, table: LiveTable, connections: Connections, limits: Limits) -> None:
        self._table = table
        self._connections = connections
        self._limits = limits
        self._asked_at: dict[tuple[str, str], float] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}

    def outdated(self, upstream_id: str) -> None:
        """What this upstream lists has changed."""
        self._table.forget(upstream_id)
        for key in [key for key in self._asked_at if key[0] == upstream_id]:
            del self._asked_at[key]

    async def refresh(self, request: Request, reach: Reach) -> None:
        """Have the resources of every upstream that this request may see; of those that do not answer, the last."""
        tasks = [self._ask(request, reach, spec) for spec in reach.specs() if self._has(reach, spec)]
        if waiting := [task for task in tasks if task is not None]:
            await asyncio.wait(waiting, timeout=self._limits.connect_s)

    def _has(self, reach: Reach, spec: UpstreamSpec) -> bool:
        facts = self._connections.facts(spec.id)
        known = facts is not None and "resources" in facts.capabilities
        return known and not self._connections.is_failing(spec.id) and reach.sees(spec)

    def _ask(self, request: Request, reach: Reach, spec: UpstreamSpec) -> asyncio.Task[None] | None:
        key = spec.id, live_holder(spec, reach.principal)
        if (asking := self._asking.get(key)) is not None:
            return asking
        if clock.monotonic() - self._asked_at.get(key, float("-inf")) < LIVE_S:
            return None
        task = aio.spawn(self._fetch(request, reach, spec, key[1]), name=f"list resources of {spec.slug}")
        self._asking[key] = task
        task.add_done_callback(lambda _: self._asking.pop(key, None))
        return task

    async def _fetch(self, request: Request, reach: Reach, spec: UpstreamSpec, holder: str) -> None:
        client = without(request.client, spec.withheld)
        asked_at = clock.monotonic()
        try:
            listed = await read_resources(self._asking_as(spec, holder_of(request, spec), client), self._limits)
        except UpstreamError:
            return
        limit = self._limits.list_entries
        if len(listed) > ON_THE_LOOP:
            good, _ = await aio.in_thread(described, "resource", listed, limit)
        else:
            good, _ = described("resource", listed, limit)
        self._asked_at[spec.id, holder] = asked_at
        self._table.put(spec.id, holder, [_entry(spec, item, holder) for item in good])

    def _asking_as(self, spec: UpstreamSpec, holder: str, client: ClientFacts) -> Ask:
        async def ask(exchange: Exchange) -> Answer:
            return await self._connections.call(spec, replace(exchange, holder=holder, client=client))

        return ask


def _entry(spec: UpstreamSpec, item: Described, holder: str) -> Entry:
    public = public_name(spec.slug, item.name)
    return Entry("resource", spec.id, spec.slug, item.name, public, item.body.encode(), Risk.READ, holder)
