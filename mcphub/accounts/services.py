"""Every change of orgs, people, memberships and keys: one transaction each, on record, authorised by the caller."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from mcphub.accounts import acts, devices, hooks, quotas
from mcphub.accounts.acts import COMMAND_LINE, Actor
from mcphub.accounts.models import ApiKey, Membership, Org, User, normal_email
from mcphub.accounts.roles import OWNER, role_names
from mcphub.core import tokens
from mcphub.core.clock import now
from mcphub.core.ids import is_slug
from mcphub.core.names import RESERVED

NAME_CHARS: Final = 40


class Refused(Exception):
    """A change that is not made, with the reason in words for the person who asked."""


class Exists(Refused):
    """What should be made is there already."""


class Absent(Refused):
    """What should be changed is not there."""


class LastOwner(Refused):
    """An org keeps at least one owner who can sign in."""

    def __init__(self, org: Org) -> None:
        super().__init__(f"{org.slug} would have no owner left; make somebody else an owner first")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key with its plain text, which is shown once and kept nowhere."""

    row: ApiKey
    plain: str

    def __repr__(self) -> str:
        return f"<NewKey {self.row.name}>"


def slug_fault(slug: str) -> str:
    """Why no org may have this slug, or ""."""
    if not is_slug(slug):
        return f"{slug!r} is not a slug: 2–32 lower-case letters, digits and inner hyphens"
    return f"{slug} is a word of the hub's own URLs" if slug in RESERVED else ""


@transaction.atomic
def create_org(slug: str, name: str = "", *, by: Actor = COMMAND_LINE) -> Org:
    """A new org with its built-in roles. Raises `Refused` for a bad or reserved slug, `Exists` for a taken one."""
    fault = slug_fault(slug)
    if fault:
        raise Refused(fault)
    if Org.objects.filter(slug=slug).exists():
        raise Exists(f"there is already an org {slug}")
    org = Org.objects.create(slug=slug, name=name or slug)
    hooks.on_org_created(str(org.pk))
    acts.record(by, org, "org.create", slug, after=acts.facts(org))
    return org


@transaction.atomic
def create_user(
    email: str, name: str = "", *, hub_admin: bool = False, proven: bool | None = None, by: Actor = COMMAND_LINE
) -> User:
    """A new person without a password. Raises `Refused` for a bad address, `Exists` for a known one.

    `proven`: somebody vouches that the address is theirs; the command line does.
    """
    address = checked_email(email)
    if User.objects.filter(email=address).exists():
        raise Exists(f"there is already a person {address}")
    vouched = by is COMMAND_LINE if proven is None else proven
    user = User.objects.create_user(address, name=name, is_superuser=hub_admin, email_proven=vouched)
    acts.record(by, None, "user.create", address, after=acts.facts(user))
    return user


def checked_email(text: str) -> str:
    """The address as it is stored. Raises `Refused` for what is none."""
    address = normal_email(text)
    try:
        User._meta.get_field("email").run_validators(address)
    except ValidationError:
        raise Refused(f"{text!r} is not an e-mail address") from None
    return address


@transaction.atomic
def prepare_password(user: User, password: str, *, by: Actor = COMMAND_LINE) -> None:
    """Give somebody a password that they must change when they first sign in. Raises `Refused` for a weak one."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Refused(" ".join(error.messages)) from None
    user.set_password(password)
    user.must_change_password = True
    user.save(update_fields=["password", "must_change_password"])
    devices.end_all(user)
    acts.record(by, None, "user.prepare_password", user.email)


@transaction.atomic
def prove_email(user: User, *, by: Actor = COMMAND_LINE) -> None:
    """Somebody has shown that the address is theirs. Whoever used an unproven account before is shut out of it."""
    if user.email_proven:
        return
    user.set_unusable_password()
    user.email_proven = True
    user.save(update_fields=["email_proven", "password"])
    devices.end_all(user)
    ApiKey.objects.filter(user=user, revoked_at=None).update(revoked_at=now())
    acts.record(by, None, "user.prove_email", user.email)


@transaction.atomic
def add_member(org: Org, user: User, roles: Iterable[str], *, by: Actor = COMMAND_LINE) -> Membership:
    """Make a person a member. Raises `Exists`, or `Refused` for an unknown role or over the org's quota."""
    lock(org)
    members = Membership.objects.for_org(org)
    if members.filter(user=user).exists():
        raise Exists(f"{user.email} is already a member of {org.slug}")
    if fault := quotas.fault(org, "members", members.count()):
        raise Refused(fault)
    member = Membership.objects.create(org=org, user=user, roles=checked_roles(org, roles))
    acts.record(by, org, "member.add", user.email, after=acts.facts(member))
    return member


@transaction.atomic
def set_roles(member: Membership, roles: Iterable[str], *, by: Actor = COMMAND_LINE) -> None:
    """Replace a member's roles. Raises `LastOwner`, or `Refused` for an unknown role."""
    lock(member.org)
    wanted = checked_roles(member.org, roles)
    if OWNER not in wanted:
        _keep_an_owner(member.org, member.user_id)
    before = acts.facts(member)
    member.roles = wanted
    member.save(update_fields=["roles"])
    acts.record(by, member.org, "member.set_roles", member.user.email, *acts.changed(before, acts.facts(member)))


@transaction.atomic
def remove_member(member: Membership, *, by: Actor = COMMAND_LINE) -> None:
    """End a membership with everything that hangs on it: the member's keys here, and what higher apps hold.

    Who belongs nowhere any longer is signed out everywhere. Raises `LastOwner`.
    """
    org, user = member.org, member.user
    lock(org)
    _keep_an_owner(org, user.pk)
    before = acts.facts(member)
    ApiKey.objects.for_org(org).filter(user=user, revoked_at=None).update(revoked_at=now())
    member.delete()
    if not user.is_superuser and not user.memberships.exists():
        devices.end_all(user)
    hooks.on_membership_ended(str(org.pk), str(user.pk))
    acts.record(by, org, "member.remove", user.email, before=before)


@transaction.atomic
def make_hub_admin(user: User, *, by: Actor = COMMAND_LINE) -> None:
    """Let a person run the installation and cross orgs."""
    before = acts.facts(user)
    user.is_superuser = True
    user.save(update_fields=["is_superuser"])
    acts.record(by, None, "user.change", user.email, *acts.changed(before, acts.facts(user)))


@transaction.atomic
def set_active(user: User, active: bool, *, by: Actor = COMMAND_LINE) -> None:
    """Enable or disable a person everywhere. Raises `LastOwner` for an org's only owner."""
    if not active:
        for member in user.memberships.select_related("org").order_by("org_id"):
            lock(member.org)
            _keep_an_owner(member.org, user.pk)
        devices.end_all(user)
    user.is_active = active
    user.save(update_fields=["is_active"])
    acts.record(by, None, "user.enable" if active else "user.disable", user.email)


@transaction.atomic
def create_key(
    org: Org,
    name: str,
    *,
    user: User | None = None,
    roles: Iterable[str] = (),
    upstreams: Sequence[str] = (),
    tools: Sequence[str] = (),
    application: str = "",
    expires_at: datetime | None = None,
    by: Actor = COMMAND_LINE,
) -> NewKey:
    """A key of a member (`roles` narrow theirs when given) or, without `user`, a service key pinned to `roles`.

    Raises `Exists` when a working key has the name, `Refused` for a bad role or somebody who is not a member.
    """
    minted = tokens.mint()
    row = _store_key(
        org,
        minted,
        name,
        user=user,
        roles=checked_roles(org, roles) if roles or user is None else [],
        upstreams=list(upstreams),
        tools=list(tools),
        application=application,
        expires_at=expires_at,
        made_by=by.user_id,
    )
    acts.record(by, org, "api_key.create", name, after=acts.facts(row))
    return NewKey(row, minted.plain)


@transaction.atomic
def ensure_literal_key(
    org: Org, plain: str, name: str, roles: Iterable[str] = (OWNER,), *, by: Actor = COMMAND_LINE
) -> ApiKey:
    """A service key whose text an operator chose; an existing key of that name is set to this text.

    Raises `Refused` for a literal that is too short to be reachable from other machines.
    """
    if len(plain) < tokens.LITERAL_MIN_CHARS and not settings.HUB.loopback:
        raise Refused(f"a key of your own needs at least {tokens.LITERAL_MIN_CHARS} characters off loopback")
    lock(org)
    wanted = checked_roles(org, roles)
    same = ApiKey.objects.filter(public_id__in=tokens.public_ids_of(plain))
    found = same.filter(revoked_at=None).first()
    if found is not None and found.org_id != org.pk:
        raise Exists("that key is in use in another org")
    if found is not None and found.name == name and found.roles == wanted:
        return found
    same.delete()
    ApiKey.objects.for_org(org).filter(name=name, revoked_at=None).update(revoked_at=now())
    row = _store_key(org, tokens.for_literal(plain), name, roles=wanted)
    acts.record(by, org, "api_key.create", name, after=acts.facts(row))
    return row


@transaction.atomic
def rotate_key(key: ApiKey, grace: timedelta, *, by: Actor = COMMAND_LINE) -> NewKey:
    """A new key in the place of `key`, under its name; the old one works on for `grace`, under a name that says so.

    Raises `Absent` when it does not work any longer.
    """
    lock(key.org)
    row = ApiKey.objects.select_related("org", "user").filter(pk=key.pk, revoked_at=None).first()
    until = now() + grace
    if row is None or (row.expires_at is not None and row.expires_at <= now()):
        raise Absent(f"{key.name} does not work any longer")
    name, ends = row.name, row.expires_at
    row.name = f"{name[:NAME_CHARS]} (replaced, {row.public_id[-6:]})"
    row.expires_at = min(filter(None, (ends, until)))
    row.revoked_at = None if grace else now()
    row.save(update_fields=["name", "expires_at", "revoked_at"])
    minted = tokens.mint()
    kept = {field: getattr(row, field) for field in ("roles", "upstreams", "tools", "application")}
    made = _store_key(row.org, minted, name, user=row.user, expires_at=ends, made_by=by.user_id, **kept)
    acts.record(by, row.org, "api_key.rotate", name, before=acts.facts(row), after=acts.facts(made))
    return NewKey(made, minted.plain)


@transaction.atomic
def revoke_key(key: ApiKey, *, by: Actor = COMMAND_LINE) -> None:
    """End a key for good. Raises `Absent` when it is revoked already."""
    if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now()):
        raise Absent(f"{key.name} is revoked already")
    if key.user_id is None:
        hooks.on_service_key_ended(str(key.org_id), str(key.pk))
    acts.record(by, key.org, "api_key.revoke", key.name)


def rehash_key(key_id: str, plain: str) -> None:
    """Move a key that was just proved by `plain` under the newest ring key."""
    made = tokens.hashed(plain)
    changes = {"public_id": made.public_id, "digest": made.digest, "digest_key_id": made.digest_key_id}
    ApiKey.objects.filter(pk=key_id, revoked_at=None).exclude(digest_key_id=made.digest_key_id).update(**changes)


def _store_key(org: Org, made: tokens.MintedKey, name: str, *, user: User | None = None, **values: Any) -> ApiKey:
    if not name.strip():
        raise Refused("a key needs a name")
    if user is not None and not Membership.objects.for_org(org).filter(user=user).exists():
        raise Refused(f"{user.email} is not a member of {org.slug}")
    lock(org)
    if ApiKey.objects.for_org(org).filter(name=name, revoked_at=None).exists():
        raise Exists(f"{org.slug} has a working key {name} already")
    return ApiKey.objects.create(
        org=org,
        name=name,
        user=user,
        public_id=made.public_id,
        digest=made.digest,
        digest_key_id=made.digest_key_id,
        **values,
    )


def lock(org: Org) -> None:
    """Serialise changes of who belongs to an org: the org's row is held until the transaction ends."""
    if Org.objects.select_for_update().filter(pk=org.pk).first() is None:
        raise Absent(f"the org {org.slug} is gone")


def _keep_an_owner(org: Org, leaving: Any) -> None:
    members = Membership.objects.for_org(org).filter(user__is_active=True)
    owners = {user_id for user_id, roles in members.values_list("user_id", "roles") if OWNER in roles}
    if owners == {leaving}:
        raise LastOwner(org)


def checked_roles(org: Org, roles: Iterable[str]) -> list[str]:
    """The role names, sorted. Raises `Refused` for one that the org does not have, and for none."""
    wanted = sorted(set(roles))
    unknown = [role for role in wanted if role not in role_names(str(org.pk))]
    if unknown:
        raise Refused(f"{org.slug} has no role {', '.join(unknown)}")
    if not wanted:
        raise Refused("at least one role is needed")
    return wanted
