"""REST: who asks, orgs, members and keys."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from mcphub.accounts import changes, services
from mcphub.accounts.models import ApiKey, Membership, Org, User, normal_email
from mcphub.accounts.rest import ApiFault, Caller, caller, invalid, org_of, unknown
from mcphub.accounts.rest_shapes import Body, ErrorOut, Name, Page, Paging, Text, page
from mcphub.accounts.roles import Right, givable_roles
from mcphub.core.clock import now

FAULTS: Final = dict.fromkeys((400, 401, 403, 404, 409, 413, 422, 429, 503), ErrorOut)

router: Final = Router()


class OrgOut(Schema):
    slug: str
    name: str
    enabled: bool
    created_at: datetime


class PlaceOut(Schema):
    slug: str
    rights: list[str]


class MeOut(Schema):
    """Who the hub takes the caller for, and where that opens what."""

    kind: str
    label: str
    email: str | None
    roles: list[str] = Field(description="Of the credential's principal; a session has roles by org instead.")
    application: str
    hub_admin: bool
    orgs: list[PlaceOut]


class OrgIn(Body):
    name: Annotated[Text, Field(max_length=120)] = ""
    enabled: bool | None = Field(None, description="Hub admins only.")


class MemberOut(Schema):
    email: str
    name: str
    roles: list[str]
    attributes: dict[str, Any]
    active: bool
    created_at: datetime


class MemberIn(Body):
    roles: list[Name] = Field(min_length=1, max_length=50)
    attributes: dict[str, Any] | None = Field(None, description="Left out: as they are.")


class KeyOut(Schema):
    id: UUID
    name: str
    kind: str = Field(description="`personal` or `service`")
    email: str | None
    roles: list[str]
    upstreams: list[str]
    tools: list[str]
    application: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str
    created_at: datetime


class NewKeyOut(KeyOut):
    key: str = Field(description="Shown this once.")


class KeyIn(Body):
    kind: str = Field("service", pattern="^(service|personal)$", description="`personal`: it speaks for the caller.")
    roles: list[Name] = Field([], max_length=50)
    upstreams: list[Name] = Field([], max_length=200)
    tools: list[Name] = Field([], max_length=200)
    application: Annotated[Text, Field(max_length=80)] = ""
    expires_at: datetime | None = None


@router.get("/me", response={200: MeOut, **FAULTS}, tags=["me"])
def me(request: HttpRequest) -> Any:
    """Who the caller is."""
    who = caller(request)
    slugs = Org.objects.filter(pk__in=list(who.rights)).values_list("pk", "slug")
    principal = who.principal
    return {
        "kind": principal.kind if principal else "person",
        "label": principal.label if principal else who.actor.label,
        "email": who.user.email if who.user else None,
        "roles": sorted(principal.roles) if principal else [],
        "application": principal.application if principal else "",
        "hub_admin": who.hub_admin,
        "orgs": [{"slug": slug, "rights": sorted(who.rights[str(pk)])} for pk, slug in slugs],
    }


@router.get("/orgs", response={200: Page[OrgOut], **FAULTS}, tags=["orgs"])
def list_orgs(request: HttpRequest, paging: Query[Paging]) -> Any:
    """The orgs of the caller."""
    return page(Org.objects.filter(pk__in=list(caller(request).rights)), paging, ["slug"], lambda row: row)


@router.get("/orgs/{org}", response={200: OrgOut, **FAULTS}, tags=["orgs"])
def get_org(request: HttpRequest, org: Name) -> Any:
    return org_of(request, org)


@router.put("/orgs/{org}", response={200: OrgOut, 201: OrgOut, **FAULTS}, tags=["orgs"])
def put_org(request: HttpRequest, org: Name, data: OrgIn) -> Any:
    """Make an org (hub admins), or change its name."""
    who = caller(request)
    found = Org.objects.filter(slug=org, pk__in=list(who.rights)).first()
    if found is None:
        if not who.hub_admin:
            raise unknown()
        return Status(201, services.create_org(org, data.name, by=who.actor))
    who.org(org, Right.MANAGE_ORG)
    if data.enabled is not None and data.enabled != found.enabled and not who.hub_admin:
        raise ApiFault(403, "forbidden", "Only a hub admin enables or disables an org.")
    values = {"name": data.name or found.slug, **({} if data.enabled is None else {"enabled": data.enabled})}
    changes.change_org(found, values, by=who.actor)
    return found


@router.get("/orgs/{org}/members", response={200: Page[MemberOut], **FAULTS}, tags=["members"])
def list_members(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    members = Membership.objects.for_org(org_of(request, org, Right.VIEW_CONFIG)).select_related("user")
    return page(members, paging, ["user__email"], _member_out)


@router.get("/orgs/{org}/members/{email}", response={200: MemberOut, **FAULTS}, tags=["members"])
def get_member(request: HttpRequest, org: Name, email: Name) -> Any:
    return _member_out(_member(org_of(request, org, Right.VIEW_CONFIG), email))


@router.put("/orgs/{org}/members/{email}", response={200: MemberOut, 201: MemberOut, **FAULTS}, tags=["members"])
def put_member(request: HttpRequest, org: Name, email: Name, data: MemberIn) -> Any:
    """Give somebody roles. Whoever is not known yet is prepared: they come in when they first prove the address."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_MEMBERS)
    may_give(who, place, data.roles)
    member = Membership.objects.for_org(place).filter(user__email=normal_email(email)).select_related("user").first()
    if member is not None:
        may_give(who, place, member.roles)
        changes.change_member(member, data.roles, data.attributes, by=who.actor)
        return _member_out(member)
    made = changes.prepare_member(place, email, data.roles, data.attributes or {}, by=who.actor)
    return Status(201, _member_out(made))


@router.delete("/orgs/{org}/members/{email}", response={204: None, **FAULTS}, tags=["members"])
def delete_member(request: HttpRequest, org: Name, email: Name) -> Any:
    """End a membership, with everything that hangs on it."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_MEMBERS)
    member = _member(place, email)
    may_give(who, place, member.roles)
    services.remove_member(member, by=who.actor)
    return Status(204, None)


@router.get("/orgs/{org}/keys", response={200: Page[KeyOut], **FAULTS}, tags=["keys"])
def list_keys(request: HttpRequest, org: Name, paging: Query[Paging], revoked: bool = False) -> Any:
    """Keys by name; with `revoked` those too that have ended."""
    keys = ApiKey.objects.for_org(org_of(request, org, Right.MANAGE_KEYS)).select_related("user")
    return page(keys if revoked else keys.filter(revoked_at=None), paging, ["name", "id"], _key_out)


@router.get("/orgs/{org}/keys/{name}", response={200: KeyOut, **FAULTS}, tags=["keys"])
def get_key(request: HttpRequest, org: Name, name: Name) -> Any:
    return _key_out(_key(org_of(request, org, Right.MANAGE_KEYS), name))


@router.put("/orgs/{org}/keys/{name}", response={200: KeyOut, 201: NewKeyOut, **FAULTS}, tags=["keys"])
def put_key(request: HttpRequest, org: Name, name: Name, data: KeyIn) -> Any:
    """Make a key (201, with its text), or change what a working one opens (200)."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_KEYS)
    if data.expires_at is not None and (data.expires_at.tzinfo is None or data.expires_at <= now()):
        raise invalid("The key would have ended already.", expires_at="must be in the future, with its time zone")
    may_give(who, place, data.roles)
    values = data.model_dump(exclude={"kind"})
    found = ApiKey.objects.for_org(place).filter(name=name, revoked_at=None).select_related("user", "org").first()
    if found is not None:
        may_give(who, place, found.roles)
        changes.change_key(found, values, by=who.actor)
        return _key_out(found)
    made = services.create_key(place, name, user=_holder(who, data), by=who.actor, **_pinned(who, data, values))
    return Status(201, {**_key_out(made.row), "key": made.plain})


@router.delete("/orgs/{org}/keys/{name}", response={204: None, **FAULTS}, tags=["keys"])
def delete_key(request: HttpRequest, org: Name, name: Name) -> Any:
    """Revoke a key: it ends everywhere within seconds, with its open streams."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_KEYS)
    key = _key(place, name)
    may_give(who, place, key.roles)
    services.revoke_key(key, by=who.actor)
    return Status(204, None)


def may_give(who: Caller, org: Org, roles: list[str]) -> None:
    """Nobody gives, or touches, more than they hold. Raises `ApiFault`; unknown roles are the service's matter."""
    beyond = sorted(_known(org, roles) - givable_roles(str(org.pk), who.held(org)))
    if beyond:
        raise ApiFault(403, "forbidden", f"You hold less than {', '.join(beyond)}.", {"roles": "more than yours"})


def _known(org: Org, roles: list[str]) -> frozenset[str]:
    return frozenset(roles) & givable_roles(str(org.pk), Right)


def _holder(who: Caller, data: KeyIn) -> User | None:
    if data.kind == "service":
        return None
    if who.user is None:
        raise invalid("A service key speaks for nobody who could hold a personal key.", kind="use service")
    return who.user


def _pinned(who: Caller, data: KeyIn, values: dict[str, Any]) -> dict[str, Any]:
    """A personal key that is made by a key has no more roles than that one."""
    if data.kind != "personal" or who.principal is None:
        return values
    wanted = set(data.roles) or set(who.principal.roles)
    return {**values, "roles": sorted(wanted & who.principal.roles)}


def _member(org: Org, email: str) -> Membership:
    found = (
        Membership.objects.for_org(org).filter(user__email=normal_email(email)).select_related("user", "org").first()
    )
    if found is None:
        raise unknown()
    return found


def _member_out(member: Membership) -> dict[str, Any]:
    user = member.user
    return {
        "email": user.email,
        "name": user.name,
        "roles": member.roles,
        "attributes": member.attributes,
        "active": user.is_active,
        "created_at": member.created_at,
    }


def _key(org: Org, name: str) -> ApiKey:
    found = ApiKey.objects.for_org(org).filter(name=name, revoked_at=None).select_related("user", "org").first()
    if found is None:
        raise unknown()
    return found


def _key_out(key: ApiKey) -> dict[str, Any]:
    shown = {name: getattr(key, name) for name in KeyOut.model_fields if name not in ("kind", "email")}
    return {**shown, "kind": "personal" if key.user_id else "service", "email": key.user.email if key.user else None}
