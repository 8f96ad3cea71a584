"""Roles of an org as the API makes and changes them."""

from collections.abc import Iterable

from django.db import transaction

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org
from mcphub.accounts.services import Refused
from policies.models import Role
from policies.selectors import held_by


@transaction.atomic
def put_role(org: Org, name: str, rights: Iterable[str], auto_grant: str, *, by: Actor) -> tuple[Role, bool]:
    """The role of this name, made or changed, and whether it is new.

    Raises Django's `ValidationError`, or `Refused` for other rights of a built-in role.
    """
    found = Role.objects.for_org(org).select_for_update().filter(name=name).first()
    role = found or Role(org=org, name=name)
    before = acts.facts(role) if found else {}
    if role.builtin and list(rights):
        raise Refused(f"the rights of {name} are built in: leave rights empty")
    role.rights, role.auto_grant = sorted(set(rights)), auto_grant
    role.full_clean(validate_unique=False)
    old, new = acts.changed(before, acts.facts(role))
    if old or new:
        role.save()
        acts.record(by, org, f"role.{'change' if found else 'create'}", name, old, new)
    return role, found is None


@transaction.atomic
def delete_role(role: Role, *, by: Actor) -> None:
    """Raises `Refused` for a built-in role and for one that somebody holds: a later one of that name was theirs."""
    if role.builtin:
        raise Refused(f"{role.name} is built in and stays")
    members, keys = held_by(role)
    if members or keys:
        raise Refused(f"{role.name} is held by {members} members and {keys} keys; take it from them first")
    acts.record(by, role.org, "role.delete", role.name, acts.facts(role))
    role.delete()
