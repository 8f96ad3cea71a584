"""What others read of orgs, people and keys; the snapshot is made from it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from django.db.models import Q, QuerySet

from mcphub.accounts.models import ApiKey, Issuer, Membership, Org, User
from mcphub.accounts.roles import Right, rights_of
from mcphub.core import tokens
from mcphub.core.clock import now
from mcphub.core.ids import is_uuid
from mcphub.core.principal import KeyScope, OrgRef, Principal

TOUCH_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key that works at the moment of reading, with its principal ready-made.

    `expires_at` is seconds since 1970 (None: never) and must be checked again at each use.
    """

    id: str
    public_id: str
    digest: str = field(repr=False)
    digest_key_id: str
    principal: Principal
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class OrgVersions:
    """The versions of one org: of its config, and of what is presented to upstreams on behalf of its members."""

    config: int
    credentials: int


def org_versions() -> dict[str, OrgVersions]:
    """The versions of every enabled org, by id."""
    rows = Org.objects.filter(enabled=True).values_list("pk", "config_version", "credentials_version")
    return {str(pk): OrgVersions(config, credentials) for pk, config, credentials in rows}


def orgs_by_slug() -> dict[str, OrgRef]:
    """Every enabled org by its slug."""
    return {slug: OrgRef(str(pk), slug) for pk, slug in Org.objects.filter(enabled=True).values_list("pk", "slug")}


def key_records(org_id: str) -> list[KeyRecord]:
    """The org's working keys: not those revoked, expired, of a disabled org or person, or of a non-member."""
    members = {
        item.user_id: item
        for item in Membership.objects.for_org(org_id).filter(user__is_active=True).select_related("user", "org")
    }
    records = (_record(key, members.get(key.user_id) if key.user_id else None) for key in _working_keys(org_id))
    return [record for record in records if record is not None]


def key_record(plain: str) -> KeyRecord | None:
    """The working key with this text, read from the database; None for anything else."""
    rows = ApiKey.objects.filter(public_id__in=tokens.public_ids_of(plain), revoked_at=None, org__enabled=True)
    for key in rows.filter(Q(expires_at=None) | Q(expires_at__gt=now())).select_related("org"):
        if tokens.matches(plain, key.digest, key.digest_key_id):
            return _record(key, _member(key.user_id, key.org_id) if key.user_id else None)
    return None


def _working_keys(org_id: str) -> QuerySet[ApiKey]:
    keys = ApiKey.objects.for_org(org_id).filter(revoked_at=None, org__enabled=True)
    return keys.filter(Q(expires_at=None) | Q(expires_at__gt=now())).select_related("org")


def _record(key: ApiKey, member: Membership | None) -> KeyRecord | None:
    if key.user_id is not None and member is None:
        return None
    return KeyRecord(
        id=str(key.pk),
        public_id=key.public_id,
        digest=key.digest,
        digest_key_id=key.digest_key_id,
        principal=_key_principal(key, member),
        expires_at=key.expires_at.timestamp() if key.expires_at else None,
    )


def _key_principal(key: ApiKey, member: Membership | None) -> Principal:
    scope = KeyScope(tuple(key.upstreams), tuple(key.tools))
    pinned = frozenset(key.roles)
    if member is None:
        return Principal(
            id=f"key:{key.pk}",
            kind="service",
            label=key.name,
            org=_ref(key.org),
            roles=pinned,
            credential=key.public_id,
            application=key.application,
            scope=scope,
        )
    roles = member.held_roles
    return _person(member, roles & pinned if pinned else roles, key.public_id, key.application, scope)


def _person(
    member: Membership,
    roles: frozenset[str],
    credential: str = "",
    application: str = "",
    scope: KeyScope = KeyScope(),  # noqa: B008  # a frozen value
) -> Principal:
    return Principal(
        id=f"user:{member.user_id}",
        kind="person",
        label=member.user.email,
        org=_ref(member.org),
        roles=roles,
        credential=credential,
        application=application,
        scope=scope,
        attributes=MappingProxyType({**member.claims, **member.attributes, "email": member.user.email}),
        user_id=str(member.user_id),
    )


def _ref(org: Org) -> OrgRef:
    return OrgRef(str(org.pk), org.slug)


def person_principal(user_id: Any, org_id: Any) -> Principal | None:
    """The principal of a signed-in person in one org; None when they are not (any longer) a member there."""
    member = _member(user_id, org_id)
    return _person(member, member.held_roles) if member else None


def people_principals(user_ids: Iterable[Any]) -> dict[Any, list[Principal]]:
    """The principals of these people, one an org that they are a member of; nobody who may not sign in."""
    members = Membership.objects.filter(user__in=set(user_ids), user__is_active=True, org__enabled=True)
    found: dict[Any, list[Principal]] = {}
    for member in members.select_related("user", "org"):
        found.setdefault(member.user_id, []).append(_person(member, frozenset(member.roles)))
    return found


def principal_named(org_id: Any, name: str) -> Principal | None:
    """The principal behind an e-mail or a key name of the org, as it would be now; None when unknown."""
    users = User.objects.filter(email=name.strip().lower()).values_list("pk", flat=True)
    person = person_principal(users[0], org_id) if users else None
    if person is not None:
        return person
    key = _working_keys(org_id).filter(name=name).first()
    if key is None:
        return None
    record = _record(key, _member(key.user_id, org_id) if key.user_id else None)
    return record.principal if record else None


def _member(user_id: Any, org_id: Any) -> Membership | None:
    members = Membership.objects.for_org(org_id).filter(user_id=user_id, user__is_active=True, org__enabled=True)
    return members.select_related("user", "org").first()


def touch_key(key_id: str, source: str) -> None:
    """Note that a key was used from `source` (an address); at most one write a minute."""
    at = now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=at - TOUCH_EVERY)
    ApiKey.objects.filter(stale, pk=key_id).update(last_used_at=at, last_used_from=source[:64])


@dataclass(frozen=True, slots=True)
class IssuerSpec:
    """Whose tokens an org takes, ready to be checked against: see `models.Issuer`."""

    id: str
    name: str
    issuer: str
    audiences: frozenset[str]
    algorithms: tuple[str, ...]
    required: tuple[tuple[str, frozenset[str]], ...]
    roles: frozenset[str]


def issuer_specs(org_id: str) -> tuple[IssuerSpec, ...]:
    """The issuers of an org that are switched on."""
    return tuple(
        IssuerSpec(
            id=str(row.pk),
            name=row.name,
            issuer=row.issuer,
            audiences=frozenset(row.audiences),
            algorithms=tuple(row.algorithms),
            required=tuple((claim, frozenset(texts)) for claim, texts in sorted(row.required.items())),
            roles=frozenset(row.roles),
        )
        for row in Issuer.objects.for_org(org_id).filter(enabled=True)
    )


def advertised_issuers(slug: str) -> list[str]:
    """The issuers that the metadata of an org's endpoint names; none for an unknown org, as for most known ones."""
    rows = Issuer.objects.filter(org__slug=slug, org__enabled=True, enabled=True, advertised=True)
    return list(dict.fromkeys(rows.values_list("issuer", flat=True)))


def rights_by_org(user: User) -> dict[str, frozenset[Right]]:
    """The rights of a person in each enabled org, by org id; a hub admin holds all rights in every org."""
    if not user.is_active:
        return {}
    if user.is_superuser:
        return dict.fromkeys(map(str, Org.objects.values_list("pk", flat=True)), frozenset(Right))
    members = Membership.objects.filter(user=user, org__enabled=True)
    return {str(item.org_id): rights_of(str(item.org_id), item.held_roles) for item in members}


def orgs_with_right(user: User, right: Right | Iterable[Right]) -> frozenset[str]:
    """Ids of the orgs where the person holds the right (or any of several)."""
    wanted = {right} if isinstance(right, Right) else set(right)
    return frozenset(org_id for org_id, held in rights_by_org(user).items() if held & wanted)


def recorded_principal(org_id: Any, principal_id: str, credential: str, application: str) -> Principal | None:
    """Who called, as they would call today: with the key that they used, or else as the person they are.

    None when both are gone.
    """
    key = _working_keys(org_id).filter(public_id=credential).first() if credential else None
    if key is not None:
        record = _record(key, _member(key.user_id, org_id) if key.user_id else None)
        if record is not None and record.principal.id == principal_id:
            return record.principal
    kind, _, row = principal_id.partition(":")
    person = person_principal(row, org_id) if kind == "user" and is_uuid(row) else None
    return replace(person, application=application) if person else None
