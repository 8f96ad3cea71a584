"""Rules and grants of an org as the API makes and changes them: by name, whole, and on record."""

from collections.abc import Mapping
from typing import Any

from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org
from mcphub.accounts.putting import put, remove
from policies.models import Grant, Role, Rule
from upstreams.models import Upstream


def put_rule(org: Org, name: str, values: Mapping[str, Any], *, by: Actor) -> tuple[Rule, bool]:
    """The rule of this name with exactly these values, and whether it is new. Raises `ValidationError`, `Refused`."""
    return put(Rule, org, values, by=by, called=name, name=name)


def put_grant(
    org: Org, role: Role, upstream: Upstream, values: Mapping[str, Any], *, by: Actor
) -> tuple[Grant, bool]:
    """The role's access to the upstream, and whether it is new. Raises `ValidationError`, `Refused`."""
    called = f"{role.name} on {upstream.slug}"
    return put(Grant, org, values, by=by, called=called, role=role, upstream=upstream)


def delete(row: Rule | Grant, *, by: Actor) -> None:
    """Take a rule or a grant away. Raises `Refused`."""
    remove(row, row.org, by=by, called=str(row))
