"""What a worker knows of every org, in memory: keys, policy, upstreams and catalogue at one config version.

The versions are polled; an org whose version rose is read and compiled anew in a thread, and its
snapshot is swapped whole. A worker that could not confirm its versions for a while answers 503.
"""

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast

import structlog
from django.conf import settings
from django.db import Error as DatabaseFault

from gateway.catalogue import Catalogue, Entry
from gateway.failures import NOT_CONFIRMED, unavailable
from gateway.live import LiveTable
from gateway.views import View
from mcphub.accounts import selectors as accounts
from mcphub.accounts import versioned
from mcphub.accounts.selectors import IssuerSpec, KeyRecord
from mcphub.core import aio, clock
from mcphub.core.env import storage_s
from mcphub.core.principal import OrgRef, Principal
from policies import service as policies
from policies.engine import RuleSet
from policies.facts import principal_facts
from policies.mapping import MappingSpec
from policies.rates import NO_RATES, Rates
from policies.selectors import mappings, rate_limits, toolsets
from policies.types import Kind, ToolsetSpec
from upstreams import selectors as upstreams
from upstreams.credentials.selectors import CredentialFacts, facts_of_org, listed_holders
from upstreams.credentials.vault import Vault
from upstreams.naming import marked, public_name
from upstreams.selectors import CatalogueRecord
from upstreams.types import UpstreamSpec

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class OrgSnapshot:
    """One org at one config version. `views`, `subsets` and `facts` are caches that die with the snapshot.

    `live` outlives it; `off` are the resources (upstream id, URI) that an operator switched off, or that are held,
    and `off_templates` the URI templates, by upstream id. `forwardable` are headers of clients, as bytes and as text,
    that some upstream may be given.
    """

    org: OrgRef
    version: int
    keys: tuple[KeyRecord, ...]
    ruleset: RuleSet
    specs: Mapping[str, UpstreamSpec]
    by_slug: Mapping[str, UpstreamSpec]
    catalogue: Catalogue
    live: LiveTable = field(default_factory=LiveTable)
    off: frozenset[tuple[str, str]] = frozenset()
    off_templates: Mapping[str, frozenset[str]] = field(default_factory=dict)
    toolsets: Mapping[str, ToolsetSpec] = field(default_factory=dict)
    forwardable: Mapping[bytes, str] = field(default_factory=dict)
    issuers: tuple[IssuerSpec, ...] = ()
    mappings: tuple[MappingSpec, ...] = ()
    rates: Rates = NO_RATES
    views: dict[Any, View] = field(default_factory=dict)
    subsets: dict[Any, Any] = field(default_factory=dict)
    facts: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    def facts_of(self, principal: Principal) -> Mapping[str, Any]:
        """The principal as conditions see it, made once."""
        key = (principal.id, principal.credential)
        found = self.facts.get(key)
        if found is None:
            found = self.facts[key] = principal_facts(principal)
        return found


def load(org: OrgRef, version: int, live: LiveTable) -> OrgSnapshot:
    """Read and compile one org (blocking: a thread's work)."""
    specs = upstreams.org_upstreams(org.id)
    records = upstreams.org_catalogue(org.id)
    by_slug = {alias: spec for spec in specs for alias in (*spec.aliases, spec.slug)}
    return OrgSnapshot(
        org=org,
        version=version,
        keys=tuple(accounts.key_records(org.id)),
        ruleset=policies.compile_org(org.id).ruleset,
        specs=MappingProxyType({spec.id: spec for spec in specs}),
        by_slug=MappingProxyType(by_slug),
        catalogue=Catalogue(_entries(records), listed_holders(org.id)),
        live=live,
        toolsets=MappingProxyType({each.slug: each for each in toolsets(org.id)}),
        off=frozenset((each.upstream_id, each.name) for each in records if each.kind == "resource" and _is_off(each)),
        off_templates=_off_templates(records),
        issuers=accounts.issuer_specs(org.id),
        mappings=tuple(mappings(org.id)),
        rates=Rates(rate_limits(org.id)),
        forwardable={name.encode(): name for spec in specs for name in spec.forward_headers},
    )


def _off_templates(records: Iterable[CatalogueRecord]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        if record.kind == "template" and _is_off(record):
            found.setdefault(record.upstream_id, set()).add(record.name)
    return MappingProxyType({upstream_id: frozenset(names) for upstream_id, names in found.items()})


def _is_off(record: CatalogueRecord) -> bool:
    return record.held or not record.enabled


def _entries(records: Iterable[CatalogueRecord]) -> Iterable[Entry]:
    records = list(records)
    aliases = {(one.upstream_id, one.kind, one.shape.alias) for one in records if one.shape and one.shape.alias}
    return (_entry(record, aliases) for record in records if not _is_off(record))


def _entry(record: CatalogueRecord, aliases: Container[tuple[str, str, str]]) -> Entry:
    called = _called(record, aliases)
    public = public_name(record.upstream_slug, called or record.name)
    former = public_name(record.upstream_slug, record.name) if called else ""
    shape = record.shape
    return Entry(
        kind=cast(Kind, record.kind),
        upstream_id=record.upstream_id,
        upstream=record.upstream_slug,
        name=record.name,
        public=public,
        body=shape.shown(record.body) if shape else record.body,
        risk=record.risk,
        holder=record.holder,
        called=called,
        former=former,
        shape=shape if shape and shape.changes_arguments else None,
    )


def _called(record: CatalogueRecord, aliases: Container[tuple[str, str, str]]) -> str:
    """What the definition is called in place of its own name; "" when it keeps that.

    A definition that came after another was renamed to its very name makes way, so that the alias goes on to mean
    what it meant.
    """
    if record.shape and record.shape.alias:
        return record.shape.alias
    return marked(record.name) if (record.upstream_id, record.kind, record.name) in aliases else ""


class Snapshots:
    """The orgs of this worker, kept current."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._credentials: dict[str, int] = {}
        self.orgs: Mapping[str, OrgSnapshot] = {}
        self.by_slug: Mapping[str, OrgSnapshot] = {}
        self.keys: Mapping[str, KeyRecord] = {}
        self.live: Final = LiveTable()
        self.on_change: list[Callable[[], None]] = []
        self._stale_s = settings.HUB.limits.snapshot_stale_s
        self._confirmed_at = float("-inf")
        self._seen = 0
        self._wake = asyncio.Event()
        self._fresh = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: asyncio.Task[None] | None = None
        self._failing = False

    async def start(self) -> None:
        """Load every org, then keep polling."""
        self._loop = asyncio.get_running_loop()
        versioned.listeners.append(self._announced)
        await self._refresh()
        self._poller = aio.spawn(self._poll(), name="snapshot-poll")

    async def stop(self) -> None:
        """Stop polling; the last snapshot stays readable."""
        versioned.listeners.remove(self._announced)
        if self._poller is not None:
            await aio.cancel(self._poller)

    def is_loaded(self) -> bool:
        """Whether the snapshot is complete and confirmed recently enough to decide by it."""
        return clock.monotonic() - self._confirmed_at < self._stale_s

    async def fresh(self) -> None:
        """Wait until every change that this process has announced is in force. Raises `Unavailable`."""
        announced = versioned.announced()
        if self._seen < announced and not await self._reached(lambda: self._seen >= announced, self._stale_s):
            self._confirmed_at = float("-inf")
        self._check_confirmed()

    async def look(self) -> None:
        """Wait until everything that any process has changed before now is in force. Raises `Unavailable`."""
        now = clock.monotonic()
        if not await self._reached(lambda: self._confirmed_at >= now, storage_s(settings.HUB)):
            raise unavailable(NOT_CONFIRMED)

    async def _reached(self, state: Callable[[], bool], within: float) -> bool:
        self._wake.set()
        try:
            async with asyncio.timeout(within), self._fresh:
                return await self._fresh.wait_for(state)
        except TimeoutError:
            return False

    def _check_confirmed(self) -> None:
        if not self.is_loaded():
            raise unavailable(NOT_CONFIRMED)

    def _announced(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _poll(self) -> None:
        while True:
            try:
                async with asyncio.timeout(settings.HUB.limits.snapshot_poll_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._refresh()
                self._failing = False
            except DatabaseFault as fault:
                if not self._failing:
                    log.warning("snapshot_not_confirmed", error=type(fault).__name__)
                self._failing = True
            except Exception:  # top of a task: a worker whose poll has ended would refuse everything for ever
                if not self._failing:
                    log.exception("snapshot_not_loaded")
                self._failing = True

    async def _refresh(self) -> None:
        announced = versioned.announced()
        asked_at = clock.monotonic()
        changed = await aio.in_thread(_changed, dict(self.orgs), self.live, dict(self._credentials))
        if changed.orgs is not None:
            self._swap(changed.orgs)
        for org_id, (version, rows) in changed.credentials.items():
            self._credentials[org_id] = version
            self._vault.take(org_id, rows)
        self._confirmed_at = asked_at
        async with self._fresh:
            self._seen = max(self._seen, announced)
            self._fresh.notify_all()

    def _swap(self, orgs: Mapping[str, OrgSnapshot]) -> None:
        self.orgs = MappingProxyType(dict(orgs))
        self.by_slug = MappingProxyType({snapshot.org.slug: snapshot for snapshot in orgs.values()})
        self.keys = MappingProxyType({key.public_id: key for snapshot in orgs.values() for key in snapshot.keys})
        for tell in self.on_change:
            tell()


@dataclass(frozen=True, slots=True)
class _Changed:
    """What differs from what is known.

    `orgs` are all orgs with the changed ones loaded anew (None when none has changed), `credentials` of each org
    whose credentials changed their version and what they are now.
    """

    orgs: Mapping[str, OrgSnapshot] | None
    credentials: Mapping[str, tuple[int, list[CredentialFacts]]]


def _changed(known: Mapping[str, OrgSnapshot], live: LiveTable, credentials: Mapping[str, int]) -> _Changed:
    versions = accounts.org_versions()
    orgs = _changed_orgs(known, live, {org_id: each.config for org_id, each in versions.items()})
    now = {**dict.fromkeys(credentials, 0), **{org_id: each.credentials for org_id, each in versions.items()}}
    newer = {org_id: version for org_id, version in now.items() if credentials.get(org_id) != version}
    return _Changed(
        orgs, {org_id: (version, facts_of_org(org_id) if version else []) for org_id, version in newer.items()}
    )


def _changed_orgs(
    known: Mapping[str, OrgSnapshot], live: LiveTable, versions: Mapping[str, int]
) -> Mapping[str, OrgSnapshot] | None:
    if versions == {org_id: snapshot.version for org_id, snapshot in known.items()}:
        return None
    refs = {ref.id: ref for ref in accounts.orgs_by_slug().values()}
    return {
        org_id: known[org_id]
        if org_id in known and known[org_id].version == version and known[org_id].org == refs[org_id]
        else load(refs[org_id], version, live)
        for org_id, version in versions.items()
        if org_id in refs
    }
