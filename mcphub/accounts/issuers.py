"""Issuers of tokens as admin and API change them."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Issuer, Org


@transaction.atomic
def put_issuer(org: Org, name: str, values: Mapping[str, Any], *, by: Actor) -> tuple[Issuer, bool]:
    """The issuer of this name, made or changed, and whether it is new. Raises Django's `ValidationError`."""
    found = Issuer.objects.for_org(org).select_for_update().filter(name=name).first()
    row = found or Issuer(org=org, name=name)
    before = acts.facts(row) if found else {}
    for field, value in values.items():
        setattr(row, field, value)
    row.full_clean(validate_unique=False)
    old, new = acts.changed(before, acts.facts(row))
    if old or new:
        row.save()
        acts.record(by, org, f"issuer.{'change' if found else 'create'}", name, old, new)
    return row, found is None


@transaction.atomic
def delete_issuer(row: Issuer, *, by: Actor) -> None:
    """Its tokens open nothing any more, in seconds, everywhere."""
    acts.record(by, row.org, "issuer.delete", row.name, acts.facts(row))
    row.delete()
