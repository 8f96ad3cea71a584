"""Keeping what upstreams list: the ledger of definitions, and who has which of them now."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from mcphub.accounts.versioned import bump
from mcphub.core.clock import now
from upstreams.ledger.counting import count
from upstreams.ledger.review import Reviewer, record_held, versions_in_use
from upstreams.listing import Described, Dropped, described
from upstreams.models import (
    CatalogueEntry,
    Credential,
    CredentialMode,
    Definition,
    DefinitionVersion,
    KindChoice,
    ReviewChoice,
    Upstream,
    UpstreamState,
)
from upstreams.risk import Risk, risk_of

log = structlog.get_logger(__name__)

CHUNK: Final = 500
DROPPED_SHOWN: Final = 50

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What a listing changed: (kind, original name) of each, and what had to be left out."""

    added: tuple[Key, ...] = ()
    changed: tuple[Key, ...] = ()
    removed: tuple[Key, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether anybody's lists may differ now."""
        return bool(self.added or self.changed or self.removed)


@dataclass(slots=True)
class _Store:
    """One listing on its way into the database, inside the caller's transaction."""

    upstream: Upstream
    holder: str
    items: Mapping[Key, tuple[Described, Risk]]
    kinds: Collection[str]
    is_first: bool = False
    had: dict[Key, CatalogueEntry] = field(default_factory=dict)
    definitions: dict[Key, Definition] = field(default_factory=dict)
    versions: dict[tuple[UUID, str], UUID] = field(default_factory=dict)

    def run(self) -> StoreReport:
        entries = CatalogueEntry.objects.select_related("definition").filter(
            definition__upstream=self.upstream, definition__kind__in=self.kinds, holder=self.holder
        )
        self.had = {(entry.definition.kind, entry.definition.name): entry for entry in entries}
        self._add_definitions()
        self._add_versions()
        report = self._point_entries()
        self._set_current()
        return report

    def _add_definitions(self) -> None:
        known = Definition.objects.filter(upstream=self.upstream, kind__in=self.kinds)
        self.definitions = {(row.kind, row.name): row for row in known}
        off = set(self.upstream.disabled_tools)
        new = [
            Definition(
                upstream=self.upstream, kind=kind, name=name, enabled=kind != KindChoice.TOOL or name not in off
            )
            for kind, name in self.items
            if (kind, name) not in self.definitions
        ]
        if new:
            Definition.objects.bulk_create(new)
        self.definitions |= {(row.kind, row.name): row for row in new}

    def _add_versions(self) -> None:
        known = DefinitionVersion.objects.filter(
            definition__upstream=self.upstream, definition__kind__in=self.kinds
        ).order_by()
        self.versions = {(row, digest): pk for row, digest, pk in known.values_list("definition_id", "digest", "pk")}
        unseen = {
            key: found
            for key, found in self.items.items()
            if (self.definitions[key].pk, found[0].digest) not in self.versions
        }
        if unseen:
            new = self._judged(unseen)
            DefinitionVersion.objects.bulk_create(new)
            self.versions |= {(row.definition_id, row.digest): row.pk for row in new}
            record_held(self.upstream, [row for row in new if row.review == ReviewChoice.HELD])

    def _judged(self, unseen: Mapping[Key, tuple[Described, Risk]]) -> list[DefinitionVersion]:
        """The versions that nobody has seen before, each with whether it may be used."""
        used = versions_in_use(self.definitions[key].pk for key in unseen)
        known = {definition for definition, _ in self.versions}
        reviewer = Reviewer(self.upstream, self.is_first, known, self._gone())
        new = []
        for key, (item, risk) in unseen.items():
            row = self.definitions[key]
            verdict = reviewer.judge(row, item.definition, used.get(row.pk))
            fields = {"digest": item.digest, "body": item.body, "risk": risk, **verdict.columns()}
            new.append(DefinitionVersion(definition=row, **fields))
        return new

    def _gone(self) -> dict[Key, Mapping[str, Any]]:
        """What the holder was listed before and is not any more."""
        rows = {entry.version_id: key for key, entry in self.had.items() if key not in self.items}
        bodies = DefinitionVersion.objects.filter(pk__in=rows).values_list("pk", "body")
        return {rows[pk]: json.loads(body) for pk, body in bodies}

    def _set_current(self) -> None:
        """What was seen last; but one person's own text only where nobody is listed the other one any more."""
        moved = []
        listed = self._listed_versions() if self.holder else frozenset()
        for key, (item, _) in self.items.items():
            row = self.definitions[key]
            version = self.versions[row.pk, item.digest]
            if row.current_id != version and row.current_id not in listed:
                row.current_id = version
                moved.append(row)
        Definition.objects.bulk_update(moved, ["current"], batch_size=CHUNK)

    def _listed_versions(self) -> Collection[UUID]:
        entries = CatalogueEntry.objects.filter(definition__upstream=self.upstream)
        return frozenset(entries.values_list("version_id", flat=True))

    def _point_entries(self) -> StoreReport:
        new, changed = {}, {}
        for key, (item, _) in self.items.items():
            definition = self.definitions[key]
            version = self.versions[definition.pk, item.digest]
            entry = self.had.get(key)
            if entry is None:
                new[key] = CatalogueEntry(definition=definition, version_id=version, holder=self.holder)
            elif entry.version_id != version:
                entry.version_id = version
                changed[key] = entry
        gone = {key: entry for key, entry in self.had.items() if key not in self.items}
        if new:
            CatalogueEntry.objects.bulk_create(new.values())
        CatalogueEntry.objects.bulk_update(changed.values(), ["version"], batch_size=CHUNK)
        for chunk in _chunks(entry.pk for entry in gone.values()):
            CatalogueEntry.objects.filter(pk__in=chunk).delete()
        return StoreReport(tuple(new), tuple(changed), tuple(gone))


def store_catalogue(upstream_id: Any, holder: str, listing: Mapping[str, Iterable[Any]]) -> StoreReport:
    """Keep what `holder` ("" = everybody) was listed, in one transaction. Blocking; call it in a thread.

    `listing` maps kinds (tool, prompt, resource, template) to raw definitions; kinds that are absent stay as
    they were. Operators' switches and overrides survive. Definitions that no client could use are dropped,
    logged and shown in the admin. An upstream that was deleted meanwhile is an empty report. The org's config
    version rises only when something differs.
    """
    limit = settings.HUB.limits.list_entries
    good: list[Described] = []
    dropped: list[Dropped] = []
    for kind, definitions in listing.items():
        fit, unfit = described(kind, definitions, limit)
        good += fit
        dropped += unfit
    report = _store(upstream_id, holder, good, tuple(listing), dropped)
    for item in dropped:
        log.warning("definition_dropped", upstream=str(upstream_id), kind=item.kind, name=item.name, why=item.why)
    return report


def _store(
    upstream_id: Any, holder: str, good: list[Described], kinds: tuple[str, ...], dropped: list[Dropped]
) -> StoreReport:
    trusted = Upstream.objects.filter(pk=upstream_id).values_list("trusted", flat=True).first()
    items = {(item.kind, item.name): (item, risk_of(item.definition, item.kind, bool(trusted))) for item in good}
    with transaction.atomic():
        rows = Upstream.objects.select_related("org", "state").select_for_update(of=("self",))
        upstream = rows.filter(pk=upstream_id).first()
        if upstream is None or (holder and not _note_listed(upstream, holder)):
            return StoreReport()
        report = _Store(upstream, holder, items, kinds, upstream.state.discovered_at is None).run()
        UpstreamState.objects.filter(pk=upstream_id).update(
            discovered_at=now(), dropped=[asdict(item) for item in dropped[:DROPPED_SHOWN]]
        )
    return StoreReport(report.added, report.changed, report.removed, tuple(dropped))


def _note_listed(upstream: Upstream, holder: str) -> bool:
    """Note that the holder's own definitions are known from now on; false when they are not connected any more."""
    row = Credential.objects.select_for_update().filter(upstream=upstream, holder=holder).first()
    if row is None:
        return upstream.credential_mode != CredentialMode.PER_USER
    if row.listed_at is None:
        bump([upstream.org_id])
    Credential.objects.filter(pk=row.pk).update(listed_at=now())
    return True


def forget_holder(holder: str, upstream_id: Any = None) -> None:
    """Drop everything that `holder` was listed: their connection or membership ended."""
    rows = CatalogueEntry.objects.filter(holder=holder)
    (rows.filter(definition__upstream=upstream_id) if upstream_id else rows).delete()


def reclassify(upstream: Upstream) -> None:
    """Find the risk of every stored version again, after the trust in the upstream changed."""
    rows = DefinitionVersion.objects.filter(definition__upstream=upstream).select_related("definition")
    changed: dict[Risk, list[UUID]] = {}
    for row in rows.iterator():
        risk = risk_of(json.loads(row.body), row.definition.kind, upstream.trusted)
        if risk != row.risk:
            changed.setdefault(risk, []).append(row.pk)
    with transaction.atomic():
        for risk, keys in changed.items():
            for chunk in _chunks(keys):
                DefinitionVersion.objects.filter(pk__in=chunk).update(risk=risk)


def count_tokens() -> None:
    """Count the tokens of the versions where nobody has yet, some hundreds at a time, in a child process."""
    due = DefinitionVersion.objects.filter(tokens=None).order_by()
    while rows := list(due.values_list("pk", "body")[:CHUNK]):
        counts = count([body for _, body in rows])
        counted = [DefinitionVersion(pk=pk, tokens=tokens) for (pk, _), tokens in zip(rows, counts, strict=True)]
        DefinitionVersion.objects.bulk_update(counted, ["tokens"])


def _chunks(keys: Iterable[UUID]) -> Iterable[list[UUID]]:
    remaining = iter(keys)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk
