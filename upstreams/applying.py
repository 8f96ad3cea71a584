"""Carrying out imports, and keeping the rows of a servers file as the file says."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import transaction

from mcphub.accounts import quotas
from mcphub.accounts.acts import COMMAND_LINE, Actor
from mcphub.accounts.models import Org
from upstreams.acts import facts_of, record_change, record_created, record_deleted
from upstreams.importing import ImportPlan, Planned, plan_import, same_as
from upstreams.models import Definition, KindChoice, Upstream
from upstreams.serversfile import Remark


class ImportRefused(Exception):
    """The plan has faults: nothing was applied."""

    def __init__(self, faults: Collection[Remark]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What following a servers file changed, by slug. With `faults` nothing was changed at all."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    faults: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()


def apply_import(
    plan: ImportPlan, *, by: Actor = COMMAND_LINE, chosen: Collection[str] | None = None
) -> list[Upstream]:
    """Make the upstreams of the plan (those named in `chosen`, or all); the rows that are new.

    All or nothing, each recorded. Raises `ImportRefused` when the plan has faults, and
    `django.db.IntegrityError` when a slug was taken since the plan was made.
    """
    if plan.faults:
        raise ImportRefused(plan.faults)
    wanted = [item for item in plan.upstreams if not item.exists and (chosen is None or item.name in chosen)]
    with transaction.atomic():
        org = Org.objects.select_for_update().get(pk=plan.org_id)
        used = Upstream.objects.for_org(org).count()
        if wanted and (fault := quotas.fault(org, "upstreams", used, len(wanted))):
            raise ImportRefused((Remark("", fault),))
        return [_add(org, item, "", by) for item in wanted]


def sync_file(org: Org, path: Path | str) -> SyncReport:
    """Make the rows that belong to files what this servers file says: add, change, remove, in one transaction.

    The file is the operator's own: its hosts are allowed, its `${VARIABLES}` come from this process's
    environment. With any fault in it nothing changes. Rows that another file left behind stay under the same
    name and go otherwise, for a hub follows one file at a time; rows that people made stay.
    """
    source = str(Path(path).resolve())
    try:
        document = Path(source).read_bytes()
    except OSError as error:
        return SyncReport(faults=(Remark("", error.strerror or "cannot be read"),))
    with transaction.atomic():
        org = Org.objects.select_for_update().get(pk=org.pk)
        plan = plan_import(org, document, environment=os.environ, source=source, trust_hosts=True)
        if plan.faults:
            return SyncReport(faults=plan.faults, warnings=plan.warnings)
        return _follow(org, plan, source)


def _follow(org: Org, plan: ImportPlan, source: str) -> SyncReport:
    by = Actor(source)
    kept = {item.exists for item in plan.upstreams if item.exists}
    Upstream.objects.for_org(org).filter(pk__in=kept).exclude(source=source).update(source=source)
    rows = {str(row.pk): row for row in Upstream.objects.for_org(org).exclude(source="")}
    gone = [row for key, row in rows.items() if key not in kept]
    for row in gone:
        _remove(row, by)
    added = [_add(org, item, source, by) for item in plan.upstreams if not item.exists]
    changed = [item.slug for item in plan.upstreams if item.exists and _change(rows[item.exists], item.fields, by)]
    return SyncReport(
        added=tuple(row.slug for row in added),
        changed=tuple(changed),
        removed=tuple(row.slug for row in gone),
        warnings=plan.warnings,
    )


def _add(org: Org, item: Planned, source: str, by: Actor) -> Upstream:
    row = Upstream(org=org, slug=item.slug, name=item.name, source=source, **item.fields)
    row.save()
    record_created(by, row)
    return row


def _change(row: Upstream, fields: Mapping[str, Any], by: Actor) -> bool:
    if same_as(row, fields):
        return False
    before = facts_of(row)
    switched = set(row.disabled_tools) ^ set(fields["disabled_tools"])
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    tools = Definition.objects.filter(upstream=row, kind=KindChoice.TOOL)
    off = switched & set(row.disabled_tools)
    tools.filter(name__in=off).update(enabled=False)
    tools.filter(name__in=switched - off).update(enabled=True)
    record_change(by, row, before)
    return True


def _remove(row: Upstream, by: Actor) -> None:
    record_deleted(by, row)
    row.delete()
