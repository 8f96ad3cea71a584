"""The one place from which every exchange, discovery and health check takes what it presents to an upstream.

Of every credential of the installation a process remembers what it is, by row version, and of those that it used the
secret too. `take` brings the versions up to date as config is (`gateway.snapshot`); after that a row whose version is
another is read again at its next use, and what was made with a credential that was replaced or taken away ends.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from django.db import Error as DatabaseError

from mcphub.core import aio, clock
from mcphub.core.keyring import KeyringError
from upstreams.credentials import seams, selectors, services
from upstreams.credentials.presented import Presented, in_headers, place_of
from upstreams.credentials.selectors import FAILING, CredentialFacts
from upstreams.errors import NeedsConnection, Unreachable, UpstreamError
from upstreams.types import UpstreamSpec

P = ParamSpec("P")
T = TypeVar("T")

MOST_OPEN: Final = 10_000
TOUCH_S: Final = 60
MOVED: Final = "its address has changed since"

Key = tuple[str, str]
"""Upstream id and holder."""

Changed = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a credential: whose, where."""

    spec: UpstreamSpec
    holder: str

    @property
    def key(self) -> Key:
        """Where its credential is found."""
        return self.spec.id, self.holder


class Vault:
    """One per web process. `on_replaced` and `on_connected` hear (upstream id, holder)."""

    def __init__(self) -> None:
        self.on_replaced: list[Changed] = []
        self.on_connected: list[Changed] = []
        self._known: dict[Key, CredentialFacts] = {}
        self._opened: OrderedDict[Key, Presented] = OrderedDict()
        self._renewing: dict[Key, asyncio.Task[UpstreamError | None]] = {}
        self._touched: dict[str, float] = {}
        self._waiting: dict[Key, set[asyncio.Event]] = {}

    # --- what every call asks ------------------------------------------------------------------------

    def now(self, use: Use) -> Presented | None:
        """From memory, when it is there, current and lasts."""
        opened = self._opened.get(use.key)
        if opened is None or opened.revision != use.spec.revision:
            return None
        known = self._known.get(use.key)
        if known is None or known.version != opened.version or not known.usable or not opened.lasts(time.time()):
            return None
        self._touch(opened.id)
        return opened

    async def resolve(self, use: Use) -> Presented:
        """What to present, read or renewed first if it must be. Raises `NeedsConnection`, `Unreachable`."""
        if (opened := self.now(use)) is not None:
            return opened
        opened = await self._found(use)
        if not opened.lasts(time.time()) and use.spec.credential_kind == "oauth":
            await self._renew(use, opened)
            opened = await self._read(use)
        self._touch(opened.id)
        return opened

    async def renewed(self, use: Use, refused: Presented) -> Presented:
        """Another one in place of what the upstream refused, once. Raises `NeedsConnection`, `Unreachable`."""
        opened = await self._read(use)
        if opened.pairs == refused.pairs and use.spec.credential_kind == "oauth":
            await self._renew(use, opened)
            opened = await self._read(use)
        if opened.pairs == refused.pairs:
            raise await self.refused(use, opened)
        return opened

    async def refused(self, use: Use, again: Presented) -> NeedsConnection:
        """The upstream does not take the credential, renewed or not: its holder is told, and may connect another.

        It is not thrown away: whoever refuses today may have trouble of their own.
        """
        problem = f"{use.spec.slug} did not accept it"
        if not again.doubted:
            await self._in_thread(services.doubt, again.id, again.version, problem)
        return missing(use, problem)

    async def accepted(self, use: Use) -> None:
        """The upstream takes what it refused before."""
        opened = self._opened.get(use.key)
        if opened is not None and opened.doubted:
            await self._in_thread(services.trust, opened.id, opened.version)

    def is_connected(self, upstream_id: str, holder: str, since: float = 0) -> bool:
        """Whether there is a credential, as far as this process knows, that can be used and was put there `since`."""
        known = self._known.get((upstream_id, holder))
        return known is not None and known.usable and known.connected_at >= since

    async def connected(self, upstream_id: str, holder: str, since: float, within_s: float) -> bool:
        """Wait until there is one that was put there `since`, or for `within_s`."""
        if self.is_connected(upstream_id, holder, since):
            return True
        happened = asyncio.Event()
        waiting = self._waiting.setdefault((upstream_id, holder), set())
        waiting.add(happened)
        try:
            async with asyncio.timeout(within_s):
                await happened.wait()
        except TimeoutError:
            return False
        finally:
            waiting.discard(happened)
            if not waiting:
                self._waiting.pop((upstream_id, holder), None)
        return True

    # --- keeping current -----------------------------------------------------------------------------

    def take(self, org_id: str, rows: Iterable[CredentialFacts]) -> None:
        """All credentials of one org, as they are now."""
        before = {key: row for key, row in self._known.items() if row.org_id == org_id}
        now = {row.key: _newer(row, before.get(row.key)) for row in rows}
        for key in before.keys() - now.keys():
            del self._known[key]
            self._opened.pop(key, None)
            self._tell(self.on_replaced, key)
        self._known.update(now)
        for key, row in now.items():
            self._compare(key, before.get(key), row)

    def forget(self, org_ids: Iterable[str]) -> None:
        """These orgs are gone."""
        for org_id in org_ids:
            self.take(org_id, ())

    def _compare(self, key: Key, before: CredentialFacts | None, now: CredentialFacts) -> None:
        if before is not None and before.version == now.version:
            return
        if (opened := self._opened.get(key)) is not None and opened.version != now.version:
            del self._opened[key]
        if before is not None and (before.connected_at != now.connected_at or (before.usable and not now.usable)):
            self._tell(self.on_replaced, key)
        if now.usable and (before is None or not before.usable or before.connected_at != now.connected_at):
            for happened in self._waiting.get(key, ()):
                happened.set()
            self._tell(self.on_connected, key)

    @staticmethod
    def _tell(listeners: Iterable[Changed], key: Key) -> None:
        for listener in listeners:
            listener(*key)

    # --- the row -------------------------------------------------------------------------------------

    async def _found(self, use: Use) -> Presented:
        """What the row holds; a shared slot that the hub can fill by itself is filled first."""
        try:
            return await self._read(use)
        except NeedsConnection:
            if use.holder or use.spec.credential_kind != "oauth" or seams.oauth.obtain is None:
                raise
        await self._once(use, seams.oauth.obtain(use.spec.id))
        return await self._read(use)

    async def _read(self, use: Use) -> Presented:
        """The credential from its row. Raises `NeedsConnection`, `Unreachable`."""
        if use.key not in self._known and use.spec.credential_mode == "per-user" and not use.holder:
            raise missing(use)
        try:
            found = await self._in_thread(selectors.opened, use.spec.id, use.holder)
        except KeyringError:
            raise Unreachable("The hub cannot open the stored credential.") from None
        if found is None:
            self._opened.pop(use.key, None)
            raise missing(use)
        facts, secret = found
        self._known[use.key] = facts
        if not facts.usable or secret is None:
            self._opened.pop(use.key, None)
            raise missing(use, facts.problem)
        if facts.place != place_of(use.spec):
            self._opened.pop(use.key, None)
            raise missing(use, MOVED)
        pairs, lines = in_headers(use.spec, secret)
        made = Presented(
            facts.id, facts.version, pairs, lines, facts.until, facts.state == FAILING, use.spec.revision
        )
        self._opened[use.key] = made
        self._opened.move_to_end(use.key)
        if len(self._opened) > MOST_OPEN:
            self._opened.popitem(last=False)
        return made

    async def _renew(self, use: Use, had: Presented) -> None:
        """Have the row renewed, once for everybody in this process who waits. Raises `UpstreamError`."""
        if seams.oauth.renew is not None:
            await self._once(use, seams.oauth.renew(had.id, had.version))

    async def _once(self, use: Use, work: Coroutine[Any, Any, None]) -> None:
        """Do it once for everybody who waits for it here. Raises `UpstreamError`."""
        task = self._renewing.get(use.key)
        if task is None:
            task = self._renewing[use.key] = aio.spawn(_fault_of(work), name=f"renew for {use.spec.slug}")
            task.add_done_callback(lambda _: self._renewing.pop(use.key, None))
        else:
            work.close()
        if (fault := await asyncio.shield(task)) is not None:
            raise fault

    def _touch(self, credential_id: str) -> None:
        moment = clock.monotonic()
        if moment - self._touched.get(credential_id, float("-inf")) >= TOUCH_S:
            self._touched[credential_id] = moment
            aio.spawn(self._touch_row(credential_id), name="touch-credential")

    @staticmethod
    async def _touch_row(credential_id: str) -> None:
        try:
            await aio.in_thread(services.touch, credential_id)
        except DatabaseError:
            return  # only a date is lost

    @staticmethod
    async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await aio.in_thread(function, *args, **kwargs)
        except DatabaseError as error:
            raise Unreachable("The hub's storage does not answer.") from error


def _newer(listed: CredentialFacts, known: CredentialFacts | None) -> CredentialFacts:
    """A row may have been read for a call since the list was made."""
    return known if known is not None and known.id == listed.id and known.version > listed.version else listed


async def _fault_of(work: Coroutine[Any, Any, None]) -> UpstreamError | None:
    """Why it did not work; an owned task has no failure that nobody waits for."""
    try:
        await work
    except UpstreamError as fault:
        return fault
    return None


def missing(use: Use, problem: str = "") -> NeedsConnection:
    """There is no credential, or none that can be used."""
    place = use.spec.slug
    if use.spec.credential_mode == "shared":
        about = f"The account that everybody uses for {place} is not connected"
    else:
        about = f"You have not connected your account for {place}"
    if problem:
        about = f"{'The' if not use.holder else 'Your'} account for {place} has to be connected again: {problem}"
    return NeedsConnection(f"{about.rstrip('.')}.")


class StoredPresenter:
    """See `Presenter`: its holder's credential as it is at each exchange."""

    __slots__ = ("_use", "_vault")

    def __init__(self, vault: Vault, use: Use) -> None:
        self._vault = vault
        self._use = use

    async def present(self) -> Presented:
        """From memory in the usual case. Raises `NeedsConnection`, `Unreachable`."""
        return self._vault.now(self._use) or await self._vault.resolve(self._use)

    async def instead_of(self, refused: Presented) -> Presented:
        """See `Vault.renewed`."""
        return await self._vault.renewed(self._use, refused)

    async def refused(self, again: Presented) -> NeedsConnection:
        """See `Vault.refused`."""
        return await self._vault.refused(self._use, again)

    async def accepted(self) -> None:
        """See `Vault.accepted`."""
        await self._vault.accepted(self._use)
