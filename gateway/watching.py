"""Which clients want to hear of which resources, and who is told when one of them was updated.

Each client's wish is counted upstream once (`Connections.subscribe`). Updates are told under the URI that the client
used, many at once as one, and only while its principal may still read the resource.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.router import Reach
from gateway.types import NotFound
from gateway.views import wrap
from mcphub.core import aio
from policies.types import Target
from upstreams.connections import Connections
from upstreams.errors import RpcError, UpstreamError
from upstreams.types import ClientFacts, UpstreamSpec

TELL_S: Final = 0.05
AGAIN_S: Final = 2.0
MAX_PENDING: Final = 1_000

Failed = Mapping[str, RpcError | UpstreamError]


@dataclass(frozen=True, slots=True)
class Place:
    """A resource as one client reaches it: on which connection, its URI there, and what the client calls it."""

    spec: UpstreamSpec
    client: ClientFacts
    holder: str
    target: Target
    shown: str

    def shows(self, uri: str) -> str:
        """What the client calls `uri`, when that is this resource or a part of it; else ""."""
        own = self.target.name
        if uri == own:
            return self.shown
        if not uri.startswith(own.rstrip("/") + "/"):
            return ""
        return uri if self.shown == own else wrap(self.spec.slug, uri)


@dataclass(slots=True, eq=False)
class Subscriber:
    """A client that hears of resources: how it sees the hub now, and how it is told of a URI.

    `ready` is false until it may be told anything, `gone` true once it has left.
    """

    look: Callable[[], Reach]
    tell: Callable[[str], None]
    ready: bool = True
    gone: bool = False
    places: dict[str, Place] = field(default_factory=dict)
    pending: dict[str, Place] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def flush(self) -> None:
        """Tell what is pending, as far as it may still be read."""
        pending, self.pending = self.pending, {}
        try:
            reach = self.look()
        except NotFound:
            return
        for shown, place in pending.items():
            if reach.shows(place.target):
                self.tell(shown)


class Watchers:
    """The clients of this process that watch resources."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._by_upstream: dict[str, set[Subscriber]] = {}
        self._due: set[Subscriber] = set()

    async def subscribe(self, subscriber: Subscriber, places: Iterable[Place]) -> Failed:
        """Begin to watch; what could not be, by the client's URI.

        Goes on to its end when the caller is cancelled, so that what is counted upstream stays right.
        """
        return await asyncio.shield(aio.spawn(self._subscribe(subscriber, places), name="subscribe-resources"))

    async def unsubscribe(self, subscriber: Subscriber, shown: Collection[str]) -> None:
        """Watch these no more."""
        async with subscriber.turn:
            gone = self._forget(subscriber, shown)
            await asyncio.gather(*(self._end(group) for group in _grouped(gone)))

    def drop(self, subscriber: Subscriber) -> None:
        """The client has left."""
        subscriber.gone = True
        if subscriber.places or subscriber.turn.locked():
            aio.spawn(self._dropped(subscriber), name="drop-subscriber")

    async def _dropped(self, subscriber: Subscriber) -> None:
        async with subscriber.turn:
            places = list(subscriber.places)
        await self.unsubscribe(subscriber, places)

    def updated(self, upstream_id: str, holder: str, uri: str) -> None:
        """An upstream says that a resource was updated; `holder` "" = on a connection that all share."""
        for subscriber in self._by_upstream.get(upstream_id, ()):
            for place in subscriber.places.values():
                if place.spec.id != upstream_id or (holder and holder != place.holder):
                    continue
                if (shown := place.shows(uri)) and len(subscriber.pending) < MAX_PENDING:
                    subscriber.pending[shown] = place
                    self._soon(subscriber)

    def returned(self, spec: UpstreamSpec) -> None:
        """An upstream is on again: it knows nothing of what was watched, nor we of what changed meanwhile."""
        for subscriber in self._by_upstream.get(spec.id, ()):
            aio.spawn(self._watch_again(subscriber, spec), name="watch-again")

    async def _watch_again(self, subscriber: Subscriber, spec: UpstreamSpec) -> None:
        places = self._moved(subscriber, spec)
        while places and not subscriber.gone:
            async with subscriber.turn:
                failed = await self._begin(places)
                self._forget(subscriber, [shown for shown, why in failed.items() if isinstance(why, RpcError)])
            if not any(isinstance(why, UpstreamError) for why in failed.values()):
                subscriber.pending |= {place.shown: place for place in places if place.shown in subscriber.places}
                self._soon(subscriber)
                return
            await asyncio.sleep(AGAIN_S)
            places = [place for place in subscriber.places.values() if place.spec is spec]

    @staticmethod
    def _moved(subscriber: Subscriber, spec: UpstreamSpec) -> list[Place]:
        """The subscriber's places at this upstream, as it is now."""
        for shown, place in subscriber.places.items():
            if place.spec.id == spec.id:
                subscriber.places[shown] = replace(place, spec=spec)
        return [place for place in subscriber.places.values() if place.spec is spec]

    def _soon(self, subscriber: Subscriber) -> None:
        if not self._due:
            asyncio.get_running_loop().call_later(TELL_S, self._tell)
        self._due.add(subscriber)

    def _tell(self) -> None:
        due, self._due = self._due, set()
        for subscriber in due:
            if subscriber.ready:
                subscriber.flush()

    async def _subscribe(self, subscriber: Subscriber, places: Iterable[Place]) -> Failed:
        async with subscriber.turn:
            new = {place.shown: place for place in places if place.shown not in subscriber.places}
            if subscriber.gone:
                return {}
            subscriber.places |= new
            for place in new.values():
                self._by_upstream.setdefault(place.spec.id, set()).add(subscriber)
            failed: dict[str, RpcError | UpstreamError] = {}
            for each in await asyncio.gather(*(self._begin(group) for group in _grouped(new.values()))):
                failed |= each
            self._forget(subscriber, failed)
        return failed

    async def _begin(self, places: list[Place]) -> dict[str, RpcError | UpstreamError]:
        first = places[0]
        try:
            refused = await self._connections.subscribe(first.spec, first.client, first.holder, _uris(places))
        except UpstreamError as error:
            return {place.shown: error for place in places}
        return {place.shown: refused[place.target.name] for place in places if place.target.name in refused}

    async def _end(self, places: list[Place]) -> None:
        first = places[0]
        await self._connections.unsubscribe(first.spec, first.client, first.holder, _uris(places))

    def _forget(self, subscriber: Subscriber, shown: Iterable[str]) -> list[Place]:
        gone = [place for uri in shown if (place := subscriber.places.pop(uri, None)) is not None]
        still = {place.spec.id for place in subscriber.places.values()}
        for upstream_id in {place.spec.id for place in gone} - still:
            listeners = self._by_upstream.get(upstream_id, set())
            listeners.discard(subscriber)
            if not listeners:
                self._by_upstream.pop(upstream_id, None)
        return gone


def _uris(places: Iterable[Place]) -> list[str]:
    return [place.target.name for place in places]


def _grouped(places: Iterable[Place]) -> list[list[Place]]:
    """One group for each upstream."""
    groups: dict[str, list[Place]] = {}
    for place in places:
        groups.setdefault(place.spec.id, []).append(place)
    return list(groups.values())
