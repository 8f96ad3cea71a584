"""Rows whose change makes an org's compiled snapshot stale.

Saving, deleting, `update()` and the bulk calls all raise `Org.config_version` in the transaction that
makes the change. Columns named in `unversioned` (last used, health) do not.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, Self, TypeVar

from django.db import models, transaction
from django.db.models import F

M = TypeVar("M", bound="Versioned")


listeners: list[Callable[[], None]] = []
_announced = itertools.count(1)
_last_announced = 0


def bump(org_ids: Iterable[Any]) -> None:
    """Raise the config version of these orgs, inside the caller's transaction; announce it after commit."""
    from mcphub.accounts.models import Org

    Org.objects.filter(pk__in=set(org_ids)).update(config_version=F("config_version") + 1)
    transaction.on_commit(announce)


def announce() -> None:
    """Tell this process's snapshot that a change was committed."""
    global _last_announced
    _last_announced = next(_announced)
    for listener in listeners:
        listener()


def announced() -> int:
    """How many changes this process has announced."""
    return _last_announced


class VersionedQuerySet(models.QuerySet[M], Generic[M]):
    def for_org(self, org: Any) -> Self:
        """Only rows of this org (an `Org`, an `OrgRef` or an id)."""
        return self.filter(**{f"{self.model.org_path}_id": getattr(org, "id", org)})

    def _orgs(self) -> list[Any]:
        return list(self.order_by().values_list(f"{self.model.org_path}_id", flat=True).distinct())

    def update(self, **changes: Any) -> int:
        if self.model.unversioned.issuperset(changes):
            return super().update(**changes)
        with transaction.atomic(using=self.db):
            orgs = self._orgs()
            count = super().update(**changes)
            bump([*orgs, *self._orgs()] if self.model.org_path in changes else orgs)
        return count

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=self.db):
            orgs = self._orgs()
            done = super().delete()
            bump(orgs)
        return done

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        rows = list(objs)
        with transaction.atomic(using=self.db):
            made = super().bulk_create(rows, *args, **kwargs)
            bump(row.org_of() for row in rows)
        return made


class Versioned(models.Model):
    """Base of every model that the snapshot is made from."""

    org_path: ClassVar[str] = "org"
    unversioned: ClassVar[frozenset[str]] = frozenset({"last_used_at", "last_used_from"})

    objects = VersionedQuerySet.as_manager()

    class Meta:
        abstract = True

    def org_of(self) -> Any:
        """The id of the org that this row belongs to."""
        row: Any = self
        *path, last = self.org_path.split("__")
        for step in path:
            row = getattr(row, step)
        return getattr(row, f"{last}_id")

    def save(self, *args: Any, **kwargs: Any) -> None:
        only = kwargs.get("update_fields")
        with transaction.atomic():
            super().save(*args, **kwargs)
            if only is None or not self.unversioned.issuperset(only):
                bump([self.org_of()])

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            org = self.org_of()
            done = super().delete(*args, **kwargs)
            bump([org])
        return done
