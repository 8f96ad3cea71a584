"""Roles of an org as the API makes and changes them."""

from collections.abc import Iterable

from django.db import transaction

from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org
from mcphub.accounts.putting import put, remove
from mcphub.accounts.services import Refused
from policies.models import Role
from policies.selectors import held_by


@transaction.atomic
def put_role(org: Org, name: str, rights: Iterable[str], auto_grant: str, *, by: Actor) -> tuple[Role, bool]:
    """The role of this name, made or changed, and whether it is new.

    Raises Django's `ValidationError`, or `Refused` for other rights of a built-in role.
    """
    given = sorted(set(rights))
    if given and Role.objects.for_org(org).filter(name=name, builtin=True).exists():
        raise Refused(f"the rights of {name} are built in: leave rights empty")
    return put(Role, org, {"rights": given, "auto_grant": auto_grant}, by=by, called=name, name=name)


@transaction.atomic
def delete_role(role: Role, *, by: Actor) -> None:
    """Raises `Refused` for a built-in role and for one that somebody holds: a later one of that name was theirs."""
    if role.builtin:
        raise Refused(f"{role.name} is built in and stays")
    members, keys = held_by(role)
    if members or keys:
        raise Refused(f"{role.name} is held by {members} members and {keys} keys; take it from them first")
    remove(role, role.org, by=by, called=role.name)
