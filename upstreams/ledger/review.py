"""Which new version of a definition is used at once, and who looked at the others."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import DefinitionChanges, Org
from mcphub.core.clock import now
from upstreams.ledger.changes import SUSPICIOUS, Change, Surroundings, compare, renamed_from, suspicions
from upstreams.models import Definition, DefinitionVersion, KindChoice, ReviewChoice, Upstream

HUB: Final = Actor("hub")
NAMES_SHOWN: Final = 50
PINNED: Final = frozenset({KindChoice.TOOL, KindChoice.PROMPT, KindChoice.TEMPLATE})
"""Resources come and go as they like: they are listed live."""
OPEN: Final = (ReviewChoice.HELD, ReviewChoice.NOTED)
OF_MODE: Final[Mapping[str, ReviewChoice]] = {
    DefinitionChanges.HOLD: ReviewChoice.HELD,
    DefinitionChanges.WARN: ReviewChoice.NOTED,
    DefinitionChanges.TRUST: ReviewChoice.APPROVED,
}

Key = tuple[str, str]
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one new version, and why."""

    review: ReviewChoice
    changes: tuple[Change, ...] = ()
    baseline: UUID | None = None

    def columns(self) -> dict[str, Any]:
        """The values of the version's columns."""
        return {
            "review": self.review,
            "changes": [asdict(change) for change in self.changes],
            "baseline_id": self.baseline,
        }


class Reviewer:
    """Judges the new versions of one listing. `gone` are the definitions that the same listing lacks, by key.

    The first listing of an upstream is approved with the upstream itself; what is suspicious in it is noted.
    Later, a definition that nobody has seen is used at once unless something in it is suspicious, and a new
    version of a `known` one is what its org says (`Org.definition_changes`).
    """

    def __init__(self, upstream: Upstream, is_first: bool, known: Collection[UUID], gone: Mapping[Key, Body]) -> None:
        self._upstream = upstream
        self._is_first = is_first
        self._known = known
        self._gone = gone
        self._on_change = OF_MODE[upstream.org.definition_changes]
        self._around: Surroundings | None = None

    def judge(self, definition: Definition, body: Body, used: DefinitionVersion | None) -> Verdict:
        """`used` is the version that was in use before, None when there was none."""
        if definition.kind not in PINNED:
            return Verdict(ReviewChoice.APPROVED)
        found = suspicions(body, definition.kind, self._surroundings())
        if used is not None:
            before = json.loads(used.body)
            known = set(suspicions(before, definition.kind, self._surroundings()))
            changes = (*compare(before, body), *(each for each in found if each not in known))
            return Verdict(self._on_change, changes, used.pk)
        if definition.pk in self._known:
            return Verdict(self._on_change, found)
        if not self._is_first and (renamed := self._renamed(definition, body)):
            found = (renamed, *found)
        return Verdict(self._of_new(found), found)

    def _of_new(self, found: Sequence[Change]) -> ReviewChoice:
        if not SUSPICIOUS.intersection(change.kind for change in found):
            return ReviewChoice.APPROVED
        return ReviewChoice.NOTED if self._is_first else self._on_change

    def _renamed(self, definition: Definition, body: Body) -> Change | None:
        gone = {name: before for (kind, name), before in self._gone.items() if kind == definition.kind}
        return renamed_from(body, gone)

    def _surroundings(self) -> Surroundings:
        if self._around is None:
            others = Definition.objects.filter(
                upstream__org=self._upstream.org_id, kind=KindChoice.TOOL, entries__isnull=False
            ).exclude(upstream=self._upstream)
            names = others.values_list("upstream__slug", "name").distinct()
            self._around = Surroundings(self._upstream.slug, tuple(names))
        return self._around


def versions_in_use(definitions: Iterable[UUID]) -> dict[UUID, DefinitionVersion]:
    """The version of each definition that was approved last, by definition."""
    rows = DefinitionVersion.objects.filter(
        definition__in=list(definitions), review__in=(ReviewChoice.APPROVED, ReviewChoice.NOTED)
    )
    in_order = rows.order_by(Coalesce("reviewed_at", "first_seen"))
    return {row.definition_id: row for row in in_order}


def record_held(upstream: Upstream, held: Sequence[DefinitionVersion]) -> None:
    """Put on record what a listing has brought that is held back."""
    if held:
        names = [f"{row.definition.kind}/{row.definition.name}" for row in held]
        seen = {"count": len(held), "names": names[:NAMES_SHOWN]}
        acts.record(HUB, upstream.org, "definition.hold", upstream.slug, after=seen)


def approve(rows: QuerySet[DefinitionVersion], *, by: Actor) -> list[DefinitionVersion]:
    """Use these versions from now on, each on record; those that were not in use, or not looked at."""
    return _decide(rows, ReviewChoice.APPROVED, by)


def refuse(rows: QuerySet[DefinitionVersion], *, by: Actor) -> list[DefinitionVersion]:
    """Hold these versions back for good, each on record; those that were not refused before."""
    return _decide(rows, ReviewChoice.REFUSED, by)


def _decide(rows: QuerySet[DefinitionVersion], review: ReviewChoice, by: Actor) -> list[DefinitionVersion]:
    with transaction.atomic():
        found = DefinitionVersion.objects.filter(pk__in=list(rows.values_list("pk", flat=True)))
        changed = list(found.exclude(review=review).select_related("definition__upstream__org"))
        DefinitionVersion.objects.filter(pk__in=[row.pk for row in changed]).update(
            review=review, reviewed_at=now(), reviewed_by=by.label
        )
        for row in changed:
            _record(row, review, by)
    return changed


def _record(row: DefinitionVersion, review: ReviewChoice, by: Actor) -> None:
    definition = row.definition
    org: Org = definition.upstream.org
    verb = "approve" if review == ReviewChoice.APPROVED else "refuse"
    target = f"{definition.upstream.slug}/{definition.kind}/{definition.name}"
    acts.record(
        by,
        org,
        f"definition.{verb}",
        target,
        {"review": row.review},
        {"review": str(review), "digest": row.digest, "changes": row.changes[:NAMES_SHOWN]},
    )
