"""Changes that the API makes of rows whose admin pages save them field by field: one transaction, on record."""

from collections.abc import Mapping
from typing import Any

from django.db import models, transaction

from mcphub.accounts import acts, services
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import ApiKey, Membership, Org, User, normal_email
from mcphub.accounts.roles import role_names


@transaction.atomic
def change(row: models.Model, values: Mapping[str, Any], *, by: Actor, org: Org | None) -> None:
    """Set `values` on a row and store them; nothing is written or recorded when they are there already.

    Raises Django's `ValidationError`.
    """
    before = acts.facts(row)
    for name, value in values.items():
        setattr(row, name, value)
    row.clean_fields(exclude=[item.name for item in row._meta.fields if item.name not in values])
    old, new = acts.changed(before, acts.facts(row))
    if old or new:
        row.save(update_fields=list(values))
        acts.record(by, org, f"{row._meta.model_name}.change", str(row), old, new)


def change_org(org: Org, values: Mapping[str, Any], *, by: Actor) -> None:
    """Rename, enable or disable an org."""
    change(org, values, by=by, org=org)


@transaction.atomic
def change_member(member: Membership, roles: list[str], attributes: Mapping[str, Any] | None, *, by: Actor) -> None:
    """Replace a member's roles and, unless None, attributes. Raises `services.Refused`."""
    services.set_roles(member, roles, by=by)
    if attributes is not None:
        change(member, {"attributes": dict(attributes)}, by=by, org=member.org)


@transaction.atomic
def prepare_member(org: Org, email: str, roles: list[str], attributes: Mapping[str, Any], *, by: Actor) -> Membership:
    """Make a person a member, known to the hub or not yet. Raises `services.Refused`."""
    user = User.objects.filter(email=normal_email(email)).first() or services.create_user(email, by=by)
    made = services.add_member(org, user, roles, by=by)
    if attributes:
        change(made, {"attributes": dict(attributes)}, by=by, org=org)
    return made


def change_key(key: ApiKey, values: Mapping[str, Any], *, by: Actor) -> None:
    """Change what a key opens. Raises `services.Refused` for unknown roles, and for none on a service key."""
    unknown = sorted(set(values.get("roles", ())) - role_names(str(key.org_id)))
    if unknown:
        raise services.Refused(f"{key.org.slug} has no role {', '.join(unknown)}")
    if key.user_id is None and not values.get("roles", key.roles):
        raise services.Refused("a service key needs at least one role")
    change(key, values, by=by, org=key.org)
