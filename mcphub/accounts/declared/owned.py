"""Rows that belong to a configuration file: read-only everywhere else."""

from collections.abc import Iterable
from typing import Any

from django.db import models

from mcphub.accounts.models import DeclaredRow, Org
from mcphub.accounts.services import Refused


def file_of(row: models.Model) -> str:
    """The file that the row belongs to; "" when people edit it here."""
    found = DeclaredRow.objects.filter(model=row._meta.label_lower, row=str(row.pk)).first()
    return found.source if found is not None else ""


def refuse_owned(row: models.Model) -> None:
    """Raises `Refused` for a row that belongs to a file, for whatever would change it elsewhere."""
    if source := file_of(row):
        raise Refused(f"{row} comes from {source} and is changed there")


def owned_ids(model: type[models.Model]) -> set[str]:
    """The keys (text) of the model's rows that belong to files."""
    return set(DeclaredRow.objects.filter(model=model._meta.label_lower).values_list("row", flat=True))


def own(org: Org, row: models.Model, section: str, key: str, source: str) -> None:
    """The row belongs to this file now."""
    DeclaredRow.objects.update_or_create(
        model=row._meta.label_lower,
        row=str(row.pk),
        defaults={"org": org, "section": section, "key": key, "source": source},
    )


def left(org: Org, source: str, section: str, named: Iterable[str]) -> list[DeclaredRow]:
    """Rows of this file that it does not name any more."""
    rows = DeclaredRow.objects.filter(org=org, source=source, section=section)
    return list(rows.exclude(key__in=list(named)))


def disown(rows: Iterable[Any]) -> None:
    """These rows are people's again."""
    DeclaredRow.objects.filter(pk__in=[row.pk for row in rows]).delete()
