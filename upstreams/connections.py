"""All live connections of this process to upstreams; the only way to call one."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final

from mcphub.core import aio
from upstreams.credentials.vault import Vault
from upstreams.errors import RpcError, Unreachable
from upstreams.fleet import Fleet
from upstreams.keeper import Keeper
from upstreams.probe import Means
from upstreams.reports import Book, Report
from upstreams.types import Answer, ClientFacts, Exchange, ServerFacts, UpstreamSpec

SCAN_S: Final = 1


class Connections:
    """One per web process. Owns links, processes and their tasks between `start` and `stop`."""

    def __init__(self, means: Means, book: Book, fleet: Fleet | None = None) -> None:
        self.on_notice: Callable[[str, str, str, Mapping[str, Any]], None] = _no_notice
        self.on_catalogue_changed: Callable[[str], None] = _no_change
        self.on_return: Callable[[UpstreamSpec], None] = _no_return
        self._means = means
        self._book = book
        self._fleet = fleet
        self._keepers: dict[str, Keeper] = {}
        self._removed: set[str] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._scan: asyncio.Task[None] | None = None
        means.vault.on_connected.append(self._account_connected)
        means.vault.on_replaced.append(self._account_replaced)

    @property
    def vault(self) -> Vault:
        """What is presented to upstreams, and to which of them somebody is connected."""
        return self._means.vault

    def _account_connected(self, upstream_id: str, holder: str) -> None:
        if keeper := self._keepers.get(upstream_id):
            keeper.connected(holder)

    def _account_replaced(self, upstream_id: str, holder: str) -> None:
        """What was made as one account may not go on as another."""
        if (keeper := self._keepers.get(upstream_id)) is None:
            return
        if holder:
            aio.spawn(keeper.replaced(holder), name=f"replace account at {keeper.spec.slug}")
        else:
            self.restart(upstream_id)

    async def start(self) -> None:
        """Begin to look for due work. Upstreams start when `set_specs` names them."""
        self._scan = aio.spawn(self._scan_due(), name="scan-due-upstreams")
        if self._fleet is not None:
            await self._fleet.start(self)

    async def stop(self) -> None:
        """End every link and every process. Calls still under way end as `Lost`."""
        if self._scan is not None:
            await aio.cancel(self._scan)
        keepers = list(self._keepers.values())
        self._keepers.clear()
        await asyncio.gather(*(keeper.close() for keeper in keepers))
        await aio.cancel(*self._ending)
        if self._fleet is not None:
            await self._fleet.stop()
        await self._means.runner.close()

    def set_specs(self, specs: Iterable[UpstreamSpec]) -> None:
        """The enabled upstreams from now on: new ones start, changed ones change over, missing ones stop."""
        wanted = {spec.id: spec for spec in specs}
        back = self._removed & wanted.keys()
        self._removed = (self._removed | self._keepers.keys()) - wanted.keys()
        for upstream_id in self._keepers.keys() - wanted.keys():
            self._retire(self._keepers.pop(upstream_id), gone=True)
            if self._fleet is not None:
                self._fleet.dropped(upstream_id)
        for spec in wanted.values():
            self._adopt(spec)
        for upstream_id in back:
            self.on_return(wanted[upstream_id])

    def call(self, spec: UpstreamSpec, exchange: Exchange) -> Awaitable[Answer]:
        """Send one exchange and wait for its answer.

        Raises `UpstreamError`, whose `outcome` says whether the call may have run. Cancelling the task
        cancels the call upstream.
        """
        keeper = self._keepers.get(spec.id)
        if keeper is None or keeper.spec.revision < spec.revision:
            keeper = self._adopt(spec)
        if self._fleet is not None and not keeper.is_movable(exchange.client, exchange.holder):
            return self._fleet.call(keeper, exchange)
        return keeper.call(exchange)

    async def subscribe(
        self, spec: UpstreamSpec, client: ClientFacts, holder: str, uris: Collection[str]
    ) -> Mapping[str, RpcError]:
        """Be told by `on_notice` when these resources change, until `unsubscribe`; counted for each who wants it.

        Lasts over lost connections. Returns what the upstream refuses. Raises `UpstreamError`.
        """
        keeper = self._adopt(spec)
        if self._fleet is not None and not keeper.is_movable(client, holder):
            return await self._fleet.subscribe(keeper, client, holder, uris)
        return await keeper.subscribe(client, holder, uris)

    async def unsubscribe(self, spec: UpstreamSpec, client: ClientFacts, holder: str, uris: Collection[str]) -> None:
        """Take one `subscribe` back."""
        keeper = self._keepers.get(spec.id)
        if keeper is not None and self._fleet is not None and not keeper.is_movable(client, holder):
            await self._fleet.unsubscribe(keeper, client, holder, uris)
        elif keeper is not None:
            await keeper.unsubscribe(client, holder, uris)

    async def lower(self, upstream_id: str, client: ClientFacts, holder: str) -> None:
        """Have the upstream send log messages from `client.log_level` on, if it is connected for this holder."""
        keeper = self._keepers.get(upstream_id)
        if keeper is not None and self._fleet is not None and not keeper.is_movable(client, holder):
            await self._fleet.lower(keeper, client, holder)
        elif keeper is not None:
            await keeper.lower(client, holder)

    async def roots_changed(self, upstream_id: str, client: ClientFacts, holder: str) -> None:
        """Tell the upstream that the client's roots have changed, if its roots were declared there."""
        keeper = self._keepers.get(upstream_id)
        if keeper is not None and self._fleet is not None and not keeper.is_movable(client, holder):
            await self._fleet.roots_changed(keeper, client, holder)
        elif keeper is not None:
            await keeper.roots_changed(client, holder)

    def facts(self, upstream_id: str) -> ServerFacts | None:
        """What the upstream said of itself when it was last connected; None before."""
        keeper = self._keepers.get(upstream_id)
        return keeper.facts if keeper is not None else None

    def is_failing(self, upstream_id: str) -> bool:
        """Whether the upstream does not answer at present."""
        keeper = self._keepers.get(upstream_id)
        return keeper is not None and keeper.failing

    def refresh(self, upstream_id: str) -> None:
        """Read its catalogue again soon."""
        if keeper := self._keepers.get(upstream_id):
            keeper.refresh()

    def restart(self, upstream_id: str) -> None:
        """End its connections after a short grace and make new ones."""
        if keeper := self._keepers.get(upstream_id):
            self._retire(keeper, patience_s=self._means.limits.stop_grace_s)
            self._begin(keeper.spec, keeper)

    async def release(self, holder: str) -> None:
        """End the connections that belong to one holder (a session that ended, a person without rights)."""
        if self._fleet is not None:
            self._fleet.released(holder)
        else:
            await self.release_here(holder)

    async def release_here(self, holder: str) -> None:
        """The same for connections of this process alone."""
        await asyncio.gather(*(keeper.release(holder) for keeper in self._keepers.values()))

    def noticed(self, upstream_id: str, holder: str, method: str, params: Mapping[str, Any]) -> None:
        self.on_notice(upstream_id, holder, method, params)
        if self._fleet is not None and (keeper := self._keepers.get(upstream_id)) is not None:
            self._fleet.noticed(keeper, holder, method, params)

    def noticed_here(self, upstream_id: str, holder: str, method: str, params: Mapping[str, Any]) -> None:
        """A notification that another process received on a connection that only it has."""
        self.on_notice(upstream_id, holder, method, params)

    def catalogue_changed(self, upstream_id: str) -> None:
        self.on_catalogue_changed(upstream_id)

    def keeper(self, upstream_id: str) -> Keeper | None:
        """The keeper of an upstream that is switched on."""
        return self._keepers.get(upstream_id)

    def keepers(self) -> list[Keeper]:
        """Those of all upstreams that are switched on."""
        return list(self._keepers.values())

    def give_up(self, upstream_id: str) -> None:
        """Another process looks after the upstream now: end what is here at once."""
        if keeper := self._keepers.get(upstream_id):
            self._retire(keeper, patience_s=0)
            self._begin(keeper.spec, None)

    def _adopt(self, spec: UpstreamSpec) -> Keeper:
        keeper = self._keepers.get(spec.id)
        if keeper is not None and keeper.spec.revision >= spec.revision:
            if keeper.spec.revision == spec.revision:
                keeper.tune(spec)
            return keeper
        if self._scan is None or spec.id in self._removed:
            raise Unreachable("The upstream has been stopped.")
        if keeper is not None:
            self._retire(keeper)
        return self._begin(spec, keeper)

    def _begin(self, spec: UpstreamSpec, before: Keeper | None) -> Keeper:
        keeper = self._keepers[spec.id] = Keeper(spec, self._means, self._book, self)
        if before is not None:
            keeper.inherit(before)
        if self._fleet is not None:
            self._fleet.tend(keeper)
        else:
            keeper.start()
        return keeper

    def _retire(self, keeper: Keeper, *, gone: bool = False, patience_s: float | None = None) -> None:
        patience = keeper.spec.call_hard_s if patience_s is None else patience_s
        task = aio.spawn(self._end(keeper, patience, gone), name=f"end {keeper.spec.slug}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, keeper: Keeper, patience_s: float, gone: bool) -> None:
        try:
            await keeper.close(patience_s)
        except asyncio.CancelledError:
            await keeper.close()
            raise
        if gone:
            await self._book.report(keeper.spec.id, Report("stopped"))

    async def _scan_due(self) -> None:
        while True:
            await asyncio.sleep(SCAN_S)
            due = await self._book.due()
            for upstream_id, asked_at in due.restart.items():
                if self._looks_after(upstream_id) and await self._book.take(upstream_id, "restart", asked_at):
                    self.restart(upstream_id)
                    if self._fleet is not None:
                        self._fleet.restarted(upstream_id)
            for upstream_id, asked_at in due.refresh.items():
                if self._looks_after(upstream_id) and await self._book.take(upstream_id, "refresh", asked_at):
                    self.refresh(upstream_id)

    def _looks_after(self, upstream_id: str) -> bool:
        return upstream_id in self._keepers and (self._fleet is None or self._fleet.looks_after(upstream_id))


def _no_notice(upstream_id: str, holder: str, method: str, params: Mapping[str, Any]) -> None:
    return None


def _no_return(spec: UpstreamSpec) -> None:
    return None


def _no_change(upstream_id: str) -> None:
    return None
