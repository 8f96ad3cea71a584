"""Rows of an org's configuration as services change them: whole, in one transaction, on record.

A row that belongs to a configuration file is changed there only.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db import transaction

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.declared.owned import refuse_owned
from mcphub.accounts.models import Org
from mcphub.accounts.versioned import Versioned

V = TypeVar("V", bound=Versioned)


@transaction.atomic
def put(model: type[V], org: Org, values: Mapping[str, Any], *, by: Actor, called: str, **key: Any) -> tuple[V, bool]:
    """The row with this `key`, made or changed to have exactly these values, and whether it is new.

    `called` is its name on record. Raises Django's `ValidationError`, `Refused` for a row of a file.
    """
    found: V | None = model.objects.for_org(org).select_for_update().filter(**key).first()  # type: ignore[assignment]
    row = found or model(org=org, **key)
    before = acts.facts(row) if found else {}
    for field, value in values.items():
        setattr(row, field, value)
    row.full_clean(validate_unique=False)
    old, new = acts.changed(before, acts.facts(row))
    if old or new:
        if found:
            refuse_owned(row)
        row.save()
        acts.record(by, org, f"{model._meta.model_name}.{'change' if found else 'create'}", called, old, new)
    return row, found is None


@transaction.atomic
def remove(row: Versioned, org: Org, *, by: Actor, called: str) -> None:
    """Take it away. Raises `Refused` for a row of a file."""
    refuse_owned(row)
    acts.record(by, org, f"{row._meta.model_name}.delete", called, acts.facts(row))
    row.delete()
