"""Rules and grants of an org as the API makes and changes them: by name, whole, and on record."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db import transaction

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org
from policies.models import Grant, Role, Rule
from upstreams.models import Upstream

RowT = TypeVar("RowT", Rule, Grant)


@transaction.atomic
def put_rule(org: Org, name: str, values: Mapping[str, Any], *, by: Actor) -> tuple[Rule, bool]:
    """The rule of this name with exactly these values, and whether it is new. Raises `ValidationError`."""
    found = Rule.objects.for_org(org).select_for_update().filter(name=name).first()
    return _put(found or Rule(org=org, name=name), found is not None, values, name, by)


@transaction.atomic
def put_grant(
    org: Org, role: Role, upstream: Upstream, values: Mapping[str, Any], *, by: Actor
) -> tuple[Grant, bool]:
    """The role's access to the upstream, and whether it is new. Raises `ValidationError`."""
    found = Grant.objects.for_org(org).select_for_update().filter(role=role, upstream=upstream).first()
    grant = found or Grant(org=org, role=role, upstream=upstream)
    return _put(grant, found is not None, values, f"{role.name} on {upstream.slug}", by)


def _put(row: RowT, is_stored: bool, values: Mapping[str, Any], name: str, by: Actor) -> tuple[RowT, bool]:
    before = acts.facts(row) if is_stored else {}
    for field, value in values.items():
        setattr(row, field, value)
    row.full_clean(validate_unique=False)
    old, new = acts.changed(before, acts.facts(row))
    if old or new:
        row.save()
        acts.record(by, row.org, f"{row._meta.model_name}.{'change' if is_stored else 'create'}", name, old, new)
    return row, not is_stored


@transaction.atomic
def delete(row: Rule | Grant, *, by: Actor) -> None:
    """Take a rule or a grant away."""
    acts.record(by, row.org, f"{row._meta.model_name}.delete", str(row), acts.facts(row))
    row.delete()
