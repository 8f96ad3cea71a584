"""Keeps one upstream at one revision: its connections, its health and its catalogue."""

import asyncio
import logging
from collections.abc import Awaitable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
import structlog
from msgspec.structs import replace

from mcphub.core import aio, clock
from upstreams.backoff import Breaker
from upstreams.connection import Connection, LiveLink
from upstreams.discovery import Ask, read_catalogue
from upstreams.errors import (
    LinkOver,
    Lost,
    NeedsConnection,
    NeedsScope,
    ProtocolFault,
    RpcError,
    TimedOut,
    TlsFault,
    Unreachable,
    UpstreamError,
    UpstreamFailed,
)
from upstreams.probe import Known, Means, Reach
from upstreams.reports import Book, Report, State
from upstreams.transports.base import own
from upstreams.transports.envelope import offered, reader_of
from upstreams.types import BETWEEN, Answer, ClientFacts, Era, Exchange, ServerFacts, UpstreamSpec

log = structlog.get_logger(__name__)

Key = tuple[str, bytes]

SHARED: Final[Key] = ("", b"")
COUNTS: Final = (Unreachable, TlsFault, Lost, TimedOut, UpstreamFailed)
LIST_CHANGED: Final = frozenset(f"notifications/{kind}/list_changed" for kind in ("tools", "resources", "prompts"))
UNKNOWN: Final = ServerFacts("handshake", "", {name: {} for name in ("tools", "resources", "prompts")})
"""Of an upstream that nobody has reached yet everything is asked; what it does not have, it says."""

PING: Final[Mapping[Era, str]] = {"handshake": "ping", "modern": "server/discover"}
DEBOUNCE_S: Final = 0.2
PEOPLE_AT_ONCE: Final = 4
DISCOVERY_RETRY_S: Final = 10


class Listener(Protocol):
    """Whom a keeper tells what is not its own business."""

    def noticed(self, upstream_id: str, holder: str, method: str, params: Mapping[str, Any]) -> None:
        """A notification of an upstream that belongs to no exchange."""

    def catalogue_changed(self, upstream_id: str) -> None:
        """What the upstream offers was read and differs from before."""

    def call(self, spec: UpstreamSpec, exchange: Exchange) -> Awaitable[Answer]:
        """Send an exchange wherever its connection is. Raises `UpstreamError`."""


class Keeper:
    """All that the hub does with one upstream at one revision of its row."""

    def __init__(self, spec: UpstreamSpec, means: Means, book: Book, listener: Listener) -> None:
        self.spec = spec
        self.facts: ServerFacts | None = None
        self.breaker = Breaker(means.limits)
        self._means = means
        self._book = book
        self._listener = listener
        self._connections: dict[Key, Connection] = {SHARED: self._connect("", {})}
        self._wake = asyncio.Event()
        self._refresh = True
        self._is_personal: Final = spec.credential_mode == "per-user"
        self._people: asyncio.Task[None] | None = None
        self._wanted: set[str] = set()
        self._everybody = False
        self._doubt = False
        self._state: State = "connecting"
        self._fault = ""
        self._task: asyncio.Task[None] | None = None
        self._reach = Reach(spec, means)
        self._listed = False
        self._other_era = False

    def start(self) -> None:
        """Connect at once and stay connected, in the one process that looks after the upstream."""
        self._task = self._task or aio.spawn(self._keep(), name=f"keep {self.spec.slug}")

    async def call(self, exchange: Exchange) -> Answer:
        """Send one exchange over its connection. Raises `UpstreamError`.

        Sent a second time only if it certainly was not sent, or if it may be and the connection broke under it.
        """
        self.breaker.admit()
        connection = self._connection(exchange.client, exchange.holder)
        try:
            try:
                answer = await connection.request(exchange)
            except (LinkOver, Lost) as error:
                if not (exchange.resend or isinstance(error, LinkOver)):
                    raise
                answer = await connection.request(exchange)
        except UpstreamError as error:
            self._failed(error)
            raise
        if self._state != "up":
            self._doubt = True
            self._wake.set()
        self.breaker.worked()
        return answer

    @property
    def running(self) -> bool:
        """Whether this process has the upstream's health and catalogue in hand."""
        return self._task is not None

    def is_movable(self, client: ClientFacts, holder: str) -> bool:
        """Whether every process may have a connection of its own for this: nothing there depends on which."""
        return self.facts is not None and self.facts.sessionless and not (holder and self._as_client(client))

    def tells_all(self, holder: str) -> bool:
        """Whether what `holder`'s connection hears comes to one process alone."""
        return self.facts is None or not self.facts.sessionless or (self.facts.both and holder != "")

    def recall(self, facts: ServerFacts, *, down: bool) -> None:
        """Take over what the process that runs the upstream wrote down."""
        if self._task is None:
            self.facts = facts
            self._state = "down" if down else "up"

    def holders(self) -> set[str]:
        """Whose connections are here."""
        return {holder for holder, _ in self._connections}

    @property
    def failing(self) -> bool:
        """Whether the last try to reach the upstream failed."""
        return self._state == "down"

    def tune(self, spec: UpstreamSpec) -> None:
        """Take over what changed without a new revision: limits, intervals, what may be sent twice."""
        self.spec = spec
        for connection in self._connections.values():
            if connection.live is not None:
                connection.live.spec = spec

    def refresh(self) -> None:
        """Read the catalogue again soon; many wishes at once are one."""
        self._refresh = True
        self._wake.set()
        if self._is_personal:
            self._everybody = True
            self._list_people_soon()

    def connected(self, holder: str) -> None:
        """Somebody connected an account: what it is offered is read soon, and what waited for one goes on."""
        self._wake.set()
        if self._is_personal:
            self._wanted.add(holder)
            self._list_people_soon()

    async def subscribe(self, client: ClientFacts, holder: str, uris: Collection[str]) -> Mapping[str, RpcError]:
        """Watch resources on the connection of this client; the refusals. Raises `UpstreamError`."""
        if self.facts is None:
            self.breaker.spare()
            await self._connections[SHARED].link()
        return await self._connection(client, holder).subscribe(uris)

    async def unsubscribe(self, client: ClientFacts, holder: str, uris: Collection[str]) -> None:
        """Watch them no more, if nobody else does."""
        connection = self._connections.get(self._key(client, holder))
        if connection is not None and (watched := [uri for uri in uris if uri in connection.watched]):
            await connection.unsubscribe(watched)

    async def lower(self, client: ClientFacts, holder: str) -> None:
        """Let log messages through that this client wants to hear, where it is connected already."""
        if (connection := self._connections.get(self._key(client, holder))) is not None:
            await connection.lower(client.log_level)

    async def roots_changed(self, client: ClientFacts, holder: str) -> None:
        """Tell the upstream so where it is connected for this client; elsewhere it will ask when it needs them."""
        if (connection := self._connections.get(self._key(client, holder))) is not None:
            await connection.roots_changed()

    def inherit(self, before: "Keeper") -> None:
        """Go on with what was watched under another revision."""
        for key, each in before._connections.items():
            if each.watched:
                own = self._connections.setdefault(
                    key, self._connect(each.holder, each.capabilities, as_client=each.as_client)
                )
                own.watched = dict(each.watched)

    async def replaced(self, account: str) -> None:
        """Another account stands behind this principal's connections, or none: end them after the calls under way."""
        mine = {key: each for key, each in self._connections.items() if self.spec.account_of(key[0]) == account}
        for key, each in mine.items():
            del self._connections[key]
            if each.watched:
                anew = self._connections[key] = self._connect(
                    each.holder, each.capabilities, as_client=each.as_client
                )
                anew.watched = dict(each.watched)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.spec.call_hard_s):
                await asyncio.gather(*(each.drained() for each in mine.values()))
        await asyncio.gather(*(each.close() for each in mine.values()))

    async def release(self, holder: str) -> None:
        """End the connections of one holder: their session or their rights have ended."""
        keys = [key for key in self._connections if holder and holder in (key[0], *key[0].split(BETWEEN))]
        await asyncio.gather(*(self._connections.pop(key).close() for key in keys))

    async def close(self, patience_s: float = 0) -> None:
        """End everything, after the calls under way have ended or `patience_s` have passed."""
        await aio.cancel(*(task for task in (self._task, self._people) if task is not None))
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await asyncio.gather(*(each.drained() for each in self._connections.values()))
        await asyncio.gather(*(each.close() for each in self._connections.values()))
        await self._reach.close()

    def _connect(self, holder: str, capabilities: Mapping[str, Any], *, as_client: bool = False) -> Connection:
        return Connection(
            holder,
            capabilities,
            self._open,
            self._noticed,
            self._wake_up,
            lambda: self._relist(holder),
            wait_s=self.spec.call_s,
            as_client=as_client,
        )

    def _connection(self, client: ClientFacts, holder: str) -> Connection:
        key = self._key(client, holder)
        found = self._connections.get(key)
        if found is None:
            found = self._connections[key] = self._connect(
                holder, offered(client, holder), as_client=self._as_client(client)
            )
        return found

    def _key(self, client: ClientFacts, holder: str) -> Key:
        as_client = self._as_client(client)
        if not holder or not (as_client or self._keeps_state or self._is_personal):
            return SHARED
        declared = msgspec.json.encode(offered(client, holder), order="deterministic")
        return holder, b"as-client " + declared if as_client else declared

    @property
    def _keeps_state(self) -> bool:
        """Whether a connection is more than a way there: a session, or a process."""
        return self.facts is None or self.facts.era == "handshake" or self.spec.transport == "stdio"

    def _as_client(self, client: ClientFacts) -> bool:
        """Whether a connection for this client is to be in its own era, and not in that of the shared one."""
        if client.era == "modern" or self.facts is None or self.facts.era == "handshake":
            return False
        return self.facts.both or self.spec.transport == "stdio"

    async def _open(self, connection: Connection) -> LiveLink:
        self.breaker.spare()
        if self._is_personal and not connection.holder and self.spec.transport == "stdio":
            raise NeedsConnection("Each person's calls run in a process of their own.")
        try:
            async with asyncio.timeout(self._means.limits.initialize_s):
                link = await self._reach.open(
                    self._known_era,
                    self._declared(connection),
                    connection,
                    connection.holder,
                    as_client=connection.as_client,
                )
        except TimeoutError:
            error: UpstreamError = TimedOut("The upstream did not become ready in time.", outcome="not_sent")
        except (NeedsConnection, NeedsScope):
            self.breaker.reached()  # whoever refuses one account answers, and may take another
            raise
        except UpstreamError as fault:
            self._other_era = isinstance(fault, (UpstreamFailed, ProtocolFault))
            error = fault if fault.outcome == "not_sent" else fault.unsent()
        else:
            self._other_era = False
            self._learn(connection, link.facts)
            self.breaker.reached()
            if self._is_personal and connection.holder:
                await self._book.report(self.spec.id, Report("up", self.facts))
            return link
        self.breaker.failed(error)
        raise error

    @property
    def _known_era(self) -> Known:
        """What to open in; "" = find out, as long as nobody knows or after a refusal: it may have changed."""
        if self._other_era:
            return ""
        return self.facts.era if self.facts is not None else self.spec.era

    def _declared(self, connection: Connection) -> Mapping[str, Any]:
        """What the connection declares. Where nobody's calls run on the hub's own, that is what any client may."""
        if connection.holder or self.spec.sharing == "shared":
            return connection.capabilities
        return reader_of(self.spec).capabilities

    def _learn(self, connection: Connection, said: ServerFacts) -> None:
        """Take over what the upstream says of itself; what it says in a client's era does not concern the others."""
        if not connection.as_client:
            self.facts = said
        elif self.facts is not None and said.era == "modern":
            self.facts = replace(self.facts, both=False)

    def _failed(self, error: UpstreamError) -> None:
        if not isinstance(error, COUNTS) or error.retry_after is not None:
            self.breaker.undecided()
            return
        before = self.breaker.tripped
        self.breaker.failed(error)
        if self.breaker.tripped and not before:
            log.warning("breaker_open", upstream=self.spec.slug, trouble=self.breaker.trouble)
        self._doubt = True
        self._wake.set()

    def _wake_up(self) -> None:
        self._wake.set()

    def _noticed(self, holder: str, method: str, params: Mapping[str, Any]) -> None:
        if method in LIST_CHANGED:
            self._relist(holder)
        self._listener.noticed(self.spec.id, holder, method, params)

    def _relist(self, holder: str) -> None:
        """The list of everybody, or where each has an account of their own, that of whose connection told so."""
        if self._is_personal and (account := self.spec.account_of(holder)):
            self._wanted.add(account)
            self._list_people_soon()
        else:
            self.refresh()

    async def _keep(self) -> None:
        while True:
            shared = self._connections[SHARED]
            try:
                link = await shared.link()
            except NeedsConnection as error:
                await self._unconnected(error)
                continue
            except UpstreamError as error:
                await self._down(error)
                await self._pause(self.breaker.pause_s())
                continue
            if self._state == "down":
                log.info("upstream_up", upstream=self.spec.slug)
            self._state = "up"
            await self._book.report(self.spec.id, Report("up", link.facts))
            await self._while_up(shared, link)

    async def _unconnected(self, error: NeedsConnection) -> None:
        """It answers, but wants an account: each person's own, which is well, or one that is not there."""
        if not self._is_personal:
            await self._down(error)
        else:
            self._state = "up"
            await self._book.report(self.spec.id, Report("up", self.facts))
            self._list_people_soon()
        await self._pause(self.spec.heartbeat_s or self._means.limits.heartbeat_s)

    def _list_people_soon(self) -> None:
        if self._task is not None and (self._people is None or self._people.done()):
            self._people = aio.spawn(self._list_for_people(), name=f"list for people {self.spec.slug}")

    async def _list_for_people(self) -> None:
        """Read what each connected person's own account is offered, as far as it is wanted or due."""
        turns = asyncio.Semaphore(PEOPLE_AT_ONCE)
        while True:
            everybody, self._everybody = self._everybody, False
            wanted, self._wanted = self._wanted, set()
            due = await self._book.people_due(self.spec.id, None if everybody else self.spec.discovery_s)
            await asyncio.gather(*(self._list_for(holder, turns) for holder in {*due, *wanted}))
            if not (self._everybody or self._wanted):
                return

    async def _list_for(self, holder: str, turns: asyncio.Semaphore) -> None:
        reader = reader_of(self.spec)

        async def ask(exchange: Exchange) -> Answer:
            return await self._listener.call(
                self.spec, replace(exchange, client=reader, holder=holder, caller=holder)
            )

        facts = self.facts or UNKNOWN
        try:
            async with turns:
                listing = await read_catalogue(ask, facts, self._means.limits)
        except UpstreamError as error:
            log.info("discovery_failed", upstream=self.spec.slug, holder=holder, error=error.text)
            return
        listing = self._reach.learn(listing, facts.era)
        if await self._book.catalogue(self.spec.id, holder, listing):
            self._listener.catalogue_changed(self.spec.id)

    async def _while_up(self, shared: Connection, link: LiveLink) -> None:
        """Heartbeat and discovery until the link is lost or stops answering."""
        beat_at = self._after(self.spec.heartbeat_s)
        list_at = self._after(self.spec.discovery_s)
        self._refresh = True
        while True:
            if link.ended is not None:
                return await self._down(link.ended)
            await self._watch_on()
            now = clock.monotonic()
            if self._doubt or (now >= beat_at and not link.busy):
                self._doubt = False
                if error := await self._beat(shared):
                    return await self._down(error)
                await self._tell_breaker(link)
                await self._close_idle()
                if self._is_personal:
                    self._list_people_soon()
                beat_at = self._after(self.spec.heartbeat_s)
            if self._refresh or now >= list_at:
                listed = await self._discover(shared, link)
                list_at = self._after(self.spec.discovery_s) if listed else now + DISCOVERY_RETRY_S
            await self._pause(max(0.0, min(beat_at, list_at) - clock.monotonic()))

    @staticmethod
    def _after(seconds: float) -> float:
        return clock.monotonic() + (seconds or 10**9)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _beat(self, shared: Connection) -> UpstreamError | None:
        """Ask for a sign of life; a JSON-RPC error is one too."""
        era = self.facts.era if self.facts is not None else "handshake"
        try:
            async with asyncio.timeout(2 * self.spec.connect_s):
                await shared.request(own(PING[era]))
        except TimeoutError:
            return TimedOut("The upstream does not answer a ping.")
        except UpstreamError as error:
            return error
        self.breaker.reached()
        return None

    async def _tell_breaker(self, link: LiveLink) -> None:
        """Say how it is after a sign of life: well, or left alone because its calls fail all the same."""
        state: State = "resting" if self.breaker.tripped else "up"
        if state == self._state == "up":
            await self._book.alive(self.spec.id)
        elif state != self._state:
            self._state = state
            await self._book.report(self.spec.id, Report(state, link.facts, self.breaker.trouble))

    async def _down(self, error: UpstreamError) -> None:
        """Say so in words, and drop the link so that the next one is new."""
        news = self._state != "down" or error.text != self._fault
        self._state, self._fault = "down", error.text
        stderr = "\n".join(getattr(error, "__notes__", ()))
        level = logging.INFO if news else logging.DEBUG
        log.log(level, "upstream_down", upstream=self.spec.slug, reason=error.reason, error=error.text)
        await self._book.report(self.spec.id, Report("down", None, error.text, stderr))
        live = self._connections[SHARED].live
        if live is not None and not live.busy:
            await live.close()

    async def _discover(self, shared: Connection, link: LiveLink) -> bool:
        await asyncio.sleep(DEBOUNCE_S if self._listed else 0)
        self._refresh = False
        try:
            listing = await read_catalogue(self._asking(shared), link.facts, self._means.limits)
        except UpstreamError as error:
            log.info("discovery_failed", upstream=self.spec.slug, error=error.text)
            await self._book.report(self.spec.id, Report("up", link.facts, error.text))
            return False
        listing = self._reach.learn(listing, link.facts.era)
        self._listed = True
        if await self._book.catalogue(self.spec.id, "", listing):
            self._listener.catalogue_changed(self.spec.id)
        return True

    def _asking(self, shared: Connection) -> Ask:
        reader = reader_of(self.spec)
        return lambda exchange: shared.request(replace(exchange, client=reader))

    async def tidy(self) -> None:
        """What is due now and then where another process looks after the upstream."""
        await self._watch_on()
        await self._close_idle()

    async def _watch_on(self) -> None:
        """Make the private connections anew that were lost while somebody listens on them."""
        for connection in tuple(self._connections.values()):
            if connection.watched and (connection.live is None or connection.live.ended is not None):
                with suppress(UpstreamError):
                    await connection.link()

    async def _close_idle(self) -> None:
        """End per-person connections that nobody has used for as long as a session lives."""
        before = clock.monotonic() - self._means.limits.session_idle_s
        idle = [
            key
            for key, each in self._connections.items()
            if key != SHARED and not each.calls and not each.watched and each.used_at < before
        ]
        await asyncio.gather(*(self._connections.pop(key).close() for key in idle))
