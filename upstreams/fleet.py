"""Several web processes and the same upstreams: each connection that cannot be in two of them is in one.

Its owner has the lease of (upstream, holder); the others send their exchanges there. Whoever has the lease of
the shared connection also looks after the upstream: heartbeat, catalogue, state. An upstream that keeps nothing
between requests (modern, or without a session) is called by every process itself.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from mcphub.core import aio, clock
from mcphub.core.packing import pack, unpack
from mcphub.core.workers import AnswerLost, Leaving, Line, NotTaken, Workers
from upstreams import forwarding
from upstreams.errors import Lost, RpcError, Unreachable, UpstreamError
from upstreams.forwarding import Moved
from upstreams.keeper import Keeper
from upstreams.owners import Owners
from upstreams.reports import Book
from upstreams.transports.envelope import offered
from upstreams.types import BETWEEN, Answer, ClientFacts, Exchange

T = TypeVar("T")
Kind = Literal["subscribe", "unsubscribe", "lower", "roots_changed"]

EXCHANGE: Final = "upstream-exchange"
NOTICE: Final = "upstream-notice"
WISH: Final = "upstream-wish"
TAKEN: Final = "lease-taken"
UPDATED: Final = "notifications/resources/updated"
RELEASE: Final = "holder-ended"
RESTART: Final = "upstream-restart"
FREED: Final = "leases-freed"
ASKS: Final = 2
LOOKS: Final = 6
"""How often, while a lease lasts, a worker looks whether one has become free."""

HANDOVER_S: Final = 10
"""How long a call waits for a worker that is leaving: longer than that one gives its own calls and children."""

FREED_S: Final = 0.5
"""After that long a worker looks by itself whether a lease is free, in seconds."""


class Notice(msgspec.Struct):
    """A notification of an upstream that belongs to no exchange."""

    upstream: str
    holder: str
    method: str
    params: dict[str, Any]


class Wish(msgspec.Struct):
    """What a worker wants of another one's connection besides exchanges."""

    kind: Kind
    upstream: str
    client: ClientFacts
    holder: str
    uris: list[str]


Watched = tuple[str, str, bytes]
"""Upstream, holder, and the client's capabilities as text."""


class Here(Protocol):
    """This process's own connections (`upstreams.connections`)."""

    def keeper(self, upstream_id: str) -> Keeper | None:
        """The keeper of an upstream that is switched on."""

    def keepers(self) -> list[Keeper]:
        """All of them."""

    def give_up(self, upstream_id: str) -> None:
        """Another process looks after it now."""

    def restart(self, upstream_id: str) -> None:
        """End its connections and make new ones."""

    async def release_here(self, holder: str) -> None:
        """End the connections of one holder."""

    def noticed_here(self, upstream_id: str, holder: str, method: str, params: Mapping[str, Any]) -> None:
        """Take a notification as if it had come to this process."""


class Fleet:
    """This process's part in it."""

    def __init__(self, workers: Workers, owners: Owners, book: Book, lease_s: float) -> None:
        self._workers = workers
        self._owners = owners
        self._book = book
        self._look_s = lease_s / LOOKS
        self._look = asyncio.Event()
        self._freed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._here: Here | None = None
        self._watched: dict[Watched, tuple[ClientFacts, Counter[str]]] = {}

    @property
    def here(self) -> Here:
        assert self._here is not None, "start first"
        return self._here

    async def start(self, here: Here) -> None:
        """Begin to take what is free, and to run what others send."""
        self._here = here
        self._owners.on_lost = self._lost
        self._workers.answer(EXCHANGE, self._serve)
        self._workers.answer(WISH, self._grant)
        self._workers.hear(TAKEN, lambda _, key: self._watch_again(key.decode()))
        self._workers.hear(NOTICE, self._hear_notice)
        self._workers.hear(RELEASE, lambda _, holder: self._spawn_release(holder.decode()))
        self._workers.hear(RESTART, lambda _, upstream: here.restart(upstream.decode()))
        self._workers.hear(FREED, self._hear_freed)
        await self._owners.start()
        self._looking = aio.spawn(self._keep_looking(), name="look-for-free-leases")

    async def stop(self) -> None:
        """After the connections have ended: let others have them."""
        if self._looking is not None:
            await aio.cancel(self._looking)
        await self._owners.stop()
        self._workers.tell_all(FREED, b"")

    def tend(self, keeper: Keeper) -> None:
        """A new keeper: it runs here if its upstream is this worker's, and otherwise waits for its turn."""
        if self.looks_after(keeper.spec.id):
            keeper.start()
        else:
            self._look.set()

    def looks_after(self, upstream_id: str) -> bool:
        """Whether the upstream's health and catalogue are this worker's business."""
        return self._owners.has(_key(upstream_id, ""))

    async def call(self, keeper: Keeper, exchange: Exchange) -> Answer:
        """Run the exchange where its connection is. Raises `UpstreamError`."""
        client = forwarding.Client(exchange.sink)

        async def send(owner: str) -> Answer:
            body = forwarding.asking(keeper.spec.id, exchange)
            try:
                return forwarding.answer_in(await self._workers.ask(owner, EXCHANGE, body, client.use))
            finally:
                client.close()

        return await self._where_it_is(keeper, exchange.holder, lambda: keeper.call(exchange), send)

    async def subscribe(
        self, keeper: Keeper, client: ClientFacts, holder: str, uris: Collection[str]
    ) -> Mapping[str, RpcError]:
        """Watch resources on the connection, wherever it is, and on the one after it. Raises `UpstreamError`."""
        refused = await self._wish("subscribe", keeper, client, holder, uris)
        counts = self._watched.setdefault(_watched(keeper, client, holder), (client, Counter()))[1]
        counts.update(uri for uri in uris if uri not in refused)
        return refused

    async def unsubscribe(self, keeper: Keeper, client: ClientFacts, holder: str, uris: Collection[str]) -> None:
        """Take one `subscribe` back."""
        counts = self._watched.get(key := _watched(keeper, client, holder), (client, Counter[str]()))[1]
        counts.subtract(uris)
        if not +counts:
            self._watched.pop(key, None)
        with suppress(UpstreamError):
            await self._wish("unsubscribe", keeper, client, holder, uris)

    async def lower(self, keeper: Keeper, client: ClientFacts, holder: str) -> None:
        """Let log messages through from the client's level on."""
        with suppress(UpstreamError):
            await self._wish("lower", keeper, client, holder, ())

    async def roots_changed(self, keeper: Keeper, client: ClientFacts, holder: str) -> None:
        """Tell the upstream of changed roots on the connection that declared them."""
        with suppress(UpstreamError):
            await self._wish("roots_changed", keeper, client, holder, ())

    async def _wish(
        self,
        kind: Kind,
        keeper: Keeper,
        client: ClientFacts,
        holder: str,
        uris: Collection[str],
    ) -> Mapping[str, RpcError]:
        wish = Wish(kind, keeper.spec.id, client, holder, list(uris))

        async def send(owner: str) -> Mapping[str, RpcError]:
            granted = await self._workers.ask(owner, WISH, pack(wish))
            if not granted:
                raise Moved
            return unpack(granted, dict[str, RpcError])

        return await self._where_it_is(keeper, holder, lambda: _granted(keeper, wish), send)

    async def _where_it_is(
        self,
        keeper: Keeper,
        holder: str,
        here: Callable[[], Awaitable[T]],
        there: Callable[[str], Awaitable[T]],
    ) -> T:
        """Do it where the connection is. What was certainly not done is tried at the next owner, if there is one.

        One that gave the connection up a moment ago may have it again: it is asked twice. One that says it is leaving
        gives its leases up in a moment.
        """
        key = _key(keeper.spec.id, holder)
        asked: Counter[str] = Counter()
        patience_ends = clock.monotonic() + HANDOVER_S
        while asked[owner := await self._owner(keeper, holder)] < ASKS:
            if owner == self._owners.own:
                return await here()
            asked[owner] += 1
            try:
                return await there(owner)
            except Moved:
                self._owners.forget(key)
            except Leaving:
                self._owners.forget(key)
                if clock.monotonic() < patience_ends:
                    asked[owner] = 0
                    await self._some_freed()
            except NotTaken:
                asked[owner] = ASKS
                await self._owners.doubt(key, owner)
            except AnswerLost:
                self._owners.forget(key)
                raise Lost("The process that holds the connection went away.") from None
        raise Unreachable("The process that holds the connection does not answer.")

    async def _some_freed(self) -> None:
        """Wait until a worker has given its leases up, or for a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FREED_S):
                await self._freed.wait()

    def _hear_freed(self, _worker: str, _body: bytes) -> None:
        self._look.set()
        self._freed.set()
        self._freed = asyncio.Event()

    def noticed(self, keeper: Keeper, holder: str, method: str, params: Mapping[str, Any]) -> None:
        """Tell the others of a notification that only the owner of a connection receives."""
        if keeper.tells_all(holder):
            self._workers.tell_all(NOTICE, pack(Notice(keeper.spec.id, holder, method, dict(params))))

    def released(self, holder: str) -> None:
        """A session or its rights ended: wherever its connections are, they end."""
        self._workers.tell_all(RELEASE, holder.encode())
        self._spawn_release(holder)

    def restarted(self, upstream_id: str) -> None:
        """All connections to the upstream are to be made anew, the others' too."""
        self._workers.tell_all(RESTART, upstream_id.encode())

    def dropped(self, upstream_id: str) -> None:
        """The upstream was switched off or removed; who wants to watch it again when it is back says so."""
        for watched in [each for each in self._watched if each[0] == upstream_id]:
            del self._watched[watched]
        keys = [key for key in self._owners.held() if key.startswith(f"{upstream_id}/")]
        aio.spawn(self._owners.release(keys), name="release-leases")

    async def _owner(self, keeper: Keeper, holder: str) -> str:
        key = _key(keeper.spec.id, holder)
        had = self._owners.has(key)
        owner = await self._owners.owner(key)
        if owner == self._owners.own and not had:
            if not holder:
                keeper.start()
            self._workers.tell_all(TAKEN, key.encode())
            self._watch_again(key)
        return owner

    async def _serve(self, line: Line, body: bytes) -> bytes:
        return await forwarding.served(self._run, line, body)

    async def _run(self, upstream_id: str, exchange: Exchange) -> Answer:
        keeper = self.here.keeper(upstream_id)
        if keeper is None or not self._owners.has(_key(upstream_id, exchange.holder)):
            raise Moved
        return await keeper.call(exchange)

    async def _grant(self, line: Line, body: bytes) -> bytes:
        """Carry out another worker's wish; nothing when the connection is not here."""
        wish = unpack(body, Wish)
        keeper = self.here.keeper(wish.upstream)
        if keeper is None or not self._owners.has(_key(wish.upstream, wish.holder)):
            return b""
        return pack(await _granted(keeper, wish))

    def _watch_again(self, key: str) -> None:
        """The connection has a new owner, who knows nothing of what was watched; nor what changed meanwhile."""
        for watched, (client, counts) in self._watched.items():
            upstream, holder, _ = watched
            if key == _key(upstream, holder) and (keeper := self.here.keeper(upstream)) is not None:
                aio.spawn(self._watch(keeper, client, holder, list(counts)), name="watch-again")

    async def _watch(self, keeper: Keeper, client: ClientFacts, holder: str, uris: list[str]) -> None:
        with suppress(UpstreamError):
            await self._wish("subscribe", keeper, client, holder, uris)
        for uri in uris:
            self.here.noticed_here(keeper.spec.id, holder, UPDATED, {"uri": uri})

    def _lost(self, key: str) -> None:
        upstream, _, holder = key.partition("/")
        if holder:
            self._spawn_release(holder, upstream)
        else:
            self.here.give_up(upstream)

    def _spawn_release(self, holder: str, upstream: str = "") -> None:
        aio.spawn(self._release(holder, upstream), name="release-holder")

    async def _release(self, holder: str, upstream: str) -> None:
        keeper = self.here.keeper(upstream) if upstream else None
        if keeper is not None:
            await keeper.release(holder)
        elif not upstream:
            await self.here.release_here(holder)
            ends = (f"/{holder}", f"{BETWEEN}{holder}")
            await self._owners.release([key for key in self._owners.held() if key.endswith(ends)])

    def _hear_notice(self, _: str, body: bytes) -> None:
        notice = unpack(body, Notice)
        self.here.noticed_here(notice.upstream, notice.holder, notice.method, notice.params)

    # --- leases ----------------------------------------------------------------------------------

    async def _keep_looking(self) -> None:
        while True:
            self._look.clear()
            await self._take_free()
            await self._recall()
            await self._release_idle()
            try:
                async with asyncio.timeout(self._look_s):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def _take_free(self) -> None:
        waiting = {_key(keeper.spec.id, ""): keeper for keeper in self.here.keepers() if not keeper.running}
        for key in await self._owners.free(waiting):
            self._owners.forget(key)
            try:
                await self._owner(waiting[key], "")
            except Unreachable:
                return

    async def _recall(self) -> None:
        waiting = {keeper.spec.id: keeper for keeper in self.here.keepers() if not keeper.running}
        if not waiting:
            return
        for upstream_id, standing in (await self._book.standing(waiting)).items():
            waiting[upstream_id].recall(standing.facts, down=standing.down)

    async def _release_idle(self) -> None:
        """End what nobody used for long, and give up leases behind which no connection is left."""
        for keeper in self.here.keepers():
            if not keeper.running:
                await keeper.tidy()
        used = {_key(keeper.spec.id, holder) for keeper in self.here.keepers() for holder in {"", *keeper.holders()}}
        await self._owners.release(self._owners.held() - used)


def _key(upstream_id: str, holder: str) -> str:
    return f"{upstream_id}/{holder}"


def _watched(keeper: Keeper, client: ClientFacts, holder: str) -> Watched:
    return keeper.spec.id, holder, pack([client.era, offered(client, holder)])


async def _granted(keeper: Keeper, wish: Wish) -> Mapping[str, RpcError]:
    if wish.kind == "subscribe":
        return await keeper.subscribe(wish.client, wish.holder, wish.uris)
    if wish.kind == "unsubscribe":
        await keeper.unsubscribe(wish.client, wish.holder, wish.uris)
    elif wish.kind == "lower":
        await keeper.lower(wish.client, wish.holder)
    else:
        await keeper.roots_changed(wish.client, wish.holder)
    return {}
