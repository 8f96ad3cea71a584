"""Attribute mappings as admin and API change them, and what they make of claims."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Membership, Org
from mcphub.accounts.putting import put, remove
from mcphub.accounts.roles import role_names
from mcphub.accounts.social.entering import remap
from mcphub.accounts.social.identity import readable_claims
from policies.mapping import Mapped, mapped
from policies.models import AttributeMapping


@transaction.atomic
def put_mapping(org: Org, name: str, values: Mapping[str, Any], *, by: Actor) -> tuple[AttributeMapping, bool]:
    """The mapping of this name, made or changed, and whether it is new. Raises `ValidationError`, `Refused`."""
    row, made = put(AttributeMapping, org, values, by=by, called=name, name=name)
    apply_to_members(org)
    return row, made


@transaction.atomic
def delete_mapping(row: AttributeMapping, *, by: Actor) -> None:
    """Its roles end for everybody who had them by it alone. Raises `Refused`."""
    remove(row, row.org, by=by, called=row.name)
    apply_to_members(row.org)


def apply_to_members(org: Org) -> int:
    """Work out anew what follows from the claims of everybody who signed in; how many changed."""
    members = Membership.objects.for_org(org).exclude(claims={}).select_for_update()
    return sum(remap(member, member.claims) for member in members)


def preview(org: Org, source: str, claims: Mapping[str, Any], draft: AttributeMapping | None = None) -> Mapped:
    """What the org's mappings make of claims as a provider sends them, with `draft` in place of its row."""
    rows = list(AttributeMapping.objects.for_org(org).filter(enabled=True))
    if draft is not None:
        rows = [row for row in rows if row.pk != draft.pk]
    if draft is not None and draft.enabled:
        rows.append(draft)
    found = mapped([row.spec() for row in rows], source, readable_claims(claims))
    return Mapped(found.roles & role_names(str(org.pk)), found.lines)
