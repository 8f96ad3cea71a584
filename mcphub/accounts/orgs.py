"""How orgs begin and end: made by hub admins or, in cloud mode, by whoever proves an address; ended by an owner."""

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from mcphub.accounts import acts, devices, hooks, quotas, services
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Membership, Org, User
from mcphub.accounts.roles import OWNER
from mcphub.accounts.services import Refused


@dataclass(frozen=True, slots=True)
class SlugState:
    """Whether an org could have this slug, and why not."""

    free: bool
    words: str


def several() -> bool:
    """Whether this installation is for several orgs: standalone has one, and hides how to switch and make them."""
    return bool(settings.HUB.mode == "cloud")


def self_service() -> bool:
    """Whether somebody who proves an address may make an org."""
    return several() and quotas.installation().self_service


def may_found(user: User) -> bool:
    """Whether this person may make an org."""
    return several() and user.is_active and (user.is_superuser or (user.email_proven and self_service()))


def slug_state(slug: str) -> SlugState:
    """Whether a slug is free, in words for the one who types it."""
    if fault := services.slug_fault(slug):
        return SlugState(False, f"{fault}.")
    if Org.objects.filter(slug=slug).exists():
        return SlugState(False, f"{slug} is taken.")
    return SlugState(True, f"{slug} is free.")


@transaction.atomic
def found(user: User, slug: str, name: str, *, by: Actor) -> Org:
    """A new org with `user` as its owner, or nothing at all.

    Raises `services.Exists` for a taken slug, `services.Refused` for a bad one and for who may not.
    """
    if not may_found(user):
        raise Refused("New orgs are made by whoever runs this hub.")
    org = services.create_org(slug, name, by=by)
    services.add_member(org, user, [OWNER], by=by)
    return org


@transaction.atomic
def delete(org: Org, *, by: Actor) -> None:
    """End an org with everything of it: members, keys, upstreams, policy. The record of what happened stays.

    Raises `services.Refused` for the only org of a standalone hub.
    """
    services.lock(org)
    if not several() and not Org.objects.exclude(pk=org.pk).exists():
        raise Refused(f"This hub serves one org, and {org.slug} is it.")
    before = acts.facts(org)
    people = list(Membership.objects.for_org(org).select_related("user"))
    hooks.on_org_deleted(str(org.pk))
    for member in people:
        hooks.on_membership_ended(str(org.pk), str(member.user_id))
    org_id, slug = org.pk, org.slug
    org.delete()
    for member in people:
        if not member.user.is_superuser and not member.user.memberships.exists():
            devices.end_all(member.user)
    org.pk = org_id
    acts.record(by, org, "org.delete", slug, before={**before, "members": len(people)})
    acts.record(by, None, "org.delete", slug, before={**before, "members": len(people)})
