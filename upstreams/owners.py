"""Which web process runs which connection: leases that this one has, and whom it knows to have others."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final

import structlog
from django.db import Error as DatabaseError

from mcphub.core import aio
from mcphub.core.aio import in_thread
from upstreams import leases
from upstreams.errors import Unreachable

MAX_KNOWN: Final = 100_000

log = structlog.get_logger(__name__)


class Owners:
    """The leases of the worker `own`, prolonged three times while one lasts.

    `on_lost` hears of keys that went to another worker, as happens after this process was stopped for a while.
    A worker cut off from the database keeps what it has: without the database there are no calls either, and
    with it comes the truth. The leases of a process that has certainly ended (`has_ended`) are nobody's at once.
    """

    def __init__(self, own: str, lease_s: float, has_ended: Callable[[str], bool]) -> None:
        self.own: Final = own
        self.on_lost: Callable[[str], None] = _ignore
        self._lease_s = lease_s
        self._has_ended = has_ended
        self._held: set[str] = set()
        self._elsewhere: dict[str, str] = {}
        self._leaving: dict[str, asyncio.Event] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to prolong."""
        self._renewing = aio.spawn(self._renew(), name="renew-leases")

    async def stop(self) -> None:
        """Give everything up, so that others need not wait for its end."""
        if self._renewing is not None:
            await aio.cancel(self._renewing)
        await self.release(frozenset(self._held))

    def has(self, key: str) -> bool:
        """Whether this worker has the lease."""
        return key in self._held

    def held(self) -> frozenset[str]:
        """What this worker has."""
        return frozenset(self._held)

    async def owner(self, key: str) -> str:
        """The worker that has `key`; this one from now on when nobody had it. Raises `Unreachable`."""
        if key in self._held:
            return self.own
        if (known := self._elsewhere.get(key)) is not None:
            return known
        if (leaving := self._leaving.get(key)) is not None:
            await leaving.wait()
        try:
            found = await in_thread(leases.take, key, self.own, self._lease_s)
        except DatabaseError as error:
            raise storage_silent(error) from error
        if found == self.own:
            self._held.add(key)
        else:
            if len(self._elsewhere) >= MAX_KNOWN:
                self._elsewhere.clear()
            self._elsewhere[key] = found
        return found

    async def free(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that are this worker's or nobody's."""
        wanted = list(keys)
        if not wanted:
            return []
        try:
            taken = await in_thread(leases.taken, wanted)
            ended = {worker for worker in set(taken.values()) if self._has_ended(worker)}
            if ended:
                await in_thread(leases.end, ended)
        except DatabaseError:
            return []
        return [key for key in wanted if key in self._held or taken.get(key) in (None, *ended)]

    def forget(self, key: str) -> None:
        """What was known about another worker that has `key` may not hold any more."""
        self._elsewhere.pop(key, None)

    async def doubt(self, key: str, worker: str) -> None:
        """`worker`, known to have `key`, does not take what it is asked. Raises `Unreachable`."""
        self.forget(key)
        if self._has_ended(worker):
            try:
                await in_thread(leases.end, [worker])
            except DatabaseError as error:
                raise storage_silent(error) from error

    async def release(self, keys: Collection[str]) -> None:
        """Give up some of what this worker has."""
        mine = self._held.intersection(keys)
        if not mine:
            return
        self._held -= mine
        left = asyncio.Event()
        self._leaving.update(dict.fromkeys(mine, left))
        try:
            await in_thread(leases.release, self.own, mine)
        except DatabaseError as error:
            log.warning("leases_not_released", error=type(error).__name__)
        finally:
            left.set()
            for key in mine:
                del self._leaving[key]

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            had = frozenset(self._held)
            try:
                has = await in_thread(leases.renew, self.own, self._lease_s)
            except DatabaseError as error:
                log.warning("leases_not_renewed", error=type(error).__name__)
                continue
            for key in (had - has) & self._held:
                log.warning("lease_lost", key=key)
                self._held.discard(key)
                self.on_lost(key)


def storage_silent(error: DatabaseError) -> Unreachable:
    """Nobody can say who has a lease."""
    log.warning("leases_not_known", error=type(error).__name__)
    return Unreachable("The hub's storage does not answer.")


def _ignore(key: str) -> None:
    return None
