"""Rows whose change makes something stale that is kept in memory: an org's snapshot, or its credentials.

Saving, deleting, `update()`, the bulk calls and changes of many-to-many sets all raise a version of the org
(`Org.config_version`, unless the model names another one) in the transaction that makes the change. Columns
named in `unversioned` (last used, health) do not.
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


def bump(org_ids: Iterable[Any], version: str = "config_version") -> None:
    """Raise a version of these orgs, inside the caller's transaction; announce it after commit."""
    from mcphub.accounts.models import Org

    Org.objects.filter(pk__in=set(org_ids)).update(**{version: F(version) + 1})


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
    """`bulk_update`, `get_or_create` and `update_or_create` come down to `update` and `save`."""

    def for_org(self, org: Any) -> Self:
        """Only rows of this org (an `Org`, an `OrgRef` or an id)."""
        return self.filter(**{f"{self.model.org_path}_id": getattr(org, "id", org)})

    def _orgs(self) -> list[Any]:
        return list(self.order_by().values_list(f"{self.model.org_path}_id", flat=True).distinct())

    def update(self, **changes: Any) -> int:
        if self.model.unversioned.issuperset(changes):
            return super().update(**changes)
        with transaction.atomic(using=self.db):
            if not self._may_move(changes):
                orgs = self._orgs()
                count = super().update(**changes)
            else:
                rows = self.model._base_manager.using(self.db).filter(pk__in=list(self.values_list("pk", flat=True)))
                orgs = self._orgs()
                count = super().update(**changes)
                orgs += rows.order_by().values_list(f"{self.model.org_path}_id", flat=True).distinct()
            bump(orgs, self.model.version_of_org)
        return count

    def _may_move(self, changes: Iterable[str]) -> bool:
        owner = self.model.org_path.split("__")[0]
        return not {owner, f"{owner}_id"}.isdisjoint(changes)

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=self.db):
            orgs = self._orgs()
            done = super().delete()
            bump(orgs, self.model.version_of_org)
        return done

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        rows = list(objs)
        with transaction.atomic(using=self.db):
            made = super().bulk_create(rows, *args, **kwargs)
            bump((row.org_of() for row in rows), self.model.version_of_org)
        return made


class Versioned(models.Model):
    """Base of every model that the snapshot, or what else is kept of an org in memory, is made from."""

    org_path: ClassVar[str] = "org"
    version_of_org: ClassVar[str] = "config_version"
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
        if only is not None and self.unversioned.issuperset(only):
            super().save(*args, **kwargs)
            return
        with transaction.atomic(using=kwargs.get("using")):
            before = self._stored_org()
            super().save(*args, **kwargs)
            bump([*before, self.org_of()], self.version_of_org)

    def _stored_org(self) -> list[Any]:
        if self._state.adding:
            return []
        return list(type(self)._base_manager.filter(pk=self.pk).values_list(f"{self.org_path}_id", flat=True))

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=kwargs.get("using")):
            org = self.org_of()
            done = super().delete(*args, **kwargs)
            bump([org], self.version_of_org)
        return done


def many_to_many_changed(
    sender: type[models.Model],
    instance: models.Model,
    action: str,
    model: type[models.Model],
    pk_set: set[Any] | None,
    **_: Any,
) -> None:
    """Receiver of `m2m_changed`: both sides of a set may be versioned, and each side has its org."""
    if isinstance(instance, Versioned) and action.startswith("post_"):
        bump([instance.org_of()], instance.version_of_org)
    if issubclass(model, Versioned) and action in {"post_add", "post_remove", "pre_clear"}:
        ids = _set_members(sender, instance, model) if pk_set is None else pk_set
        orgs = model._base_manager.filter(pk__in=ids).values_list(f"{model.org_path}_id", flat=True)
        bump(orgs, model.version_of_org)


def _set_members(through: type[models.Model], instance: models.Model, model: type[models.Model]) -> list[Any]:
    sides = {item.related_model: item.attname for item in through._meta.concrete_fields if item.is_relation}
    found = through._base_manager.filter(**{sides[type(instance)]: instance.pk})
    return list(found.values_list(sides[model], flat=True))
