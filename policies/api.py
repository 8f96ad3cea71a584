"""REST: roles and attribute mappings; the rest of policy is in `api_rules` and its neighbours."""

from typing import Any, Final, Literal

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from mcphub.accounts.api import FAULTS, may_give
from mcphub.accounts.models import Org
from mcphub.accounts.rest import ApiFault, Caller, caller, org_of, unknown
from mcphub.accounts.rest_shapes import Body, Name, Page, Paging, page
from mcphub.accounts.roles import RIGHTS, Right
from policies import mappings, roles
from policies.api_approvals import router as approvals_router
from policies.api_rates import router as rates_router
from policies.api_replays import router as replays_router
from policies.api_rules import router as rules_router
from policies.mapping import PEOPLE
from policies.models import AttributeMapping, Role

router: Final = Router()
router.add_router("", rules_router)
router.add_router("", approvals_router)
router.add_router("", rates_router)
router.add_router("", replays_router)


class RoleOut(Schema):
    name: str
    builtin: bool
    rights: list[str]
    auto_grant: str


class RoleIn(Body):
    rights: list[Right] = Field([], max_length=len(Right))
    auto_grant: Literal["none", "read-only", "all"] = "none"


@router.get("/orgs/{org}/roles", response={200: Page[RoleOut], **FAULTS}, tags=["roles"])
def list_roles(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    return page(Role.objects.for_org(org_of(request, org, Right.VIEW_CONFIG)), paging, ["name"], _role_out)


@router.get("/orgs/{org}/roles/{name}", response={200: RoleOut, **FAULTS}, tags=["roles"])
def get_role(request: HttpRequest, org: Name, name: Name) -> Any:
    return _role_out(_role(org_of(request, org, Right.VIEW_CONFIG), name))


@router.put("/orgs/{org}/roles/{name}", response={200: RoleOut, 201: RoleOut, **FAULTS}, tags=["roles"])
def put_role(request: HttpRequest, org: Name, name: Name, data: RoleIn) -> Any:
    """Make a role, or replace its rights and reach. Nobody gives or takes a right that they do not hold."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    _may_change(who, place, name, data.rights)
    row, made = roles.put_role(place, name, [right.value for right in data.rights], data.auto_grant, by=who.actor)
    return Status(201 if made else 200, _role_out(row))


@router.delete("/orgs/{org}/roles/{name}", response={204: None, **FAULTS}, tags=["roles"])
def delete_role(request: HttpRequest, org: Name, name: Name) -> Any:
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    row = _role(place, name)
    _may_change(who, place, name, [])
    roles.delete_role(row, by=who.actor)
    return Status(204, None)


class MappingOut(Schema):
    name: str
    claim: str
    values: list[str]
    roles: list[str]
    sources: list[str]
    enabled: bool


class MappingIn(Body):
    claim: Name
    values: list[Name] = Field(min_length=1, max_length=200)
    roles: list[Name] = Field(min_length=1, max_length=50)
    sources: list[Name] = Field([], max_length=50, description="`people`, or names of issuers. Empty: from anywhere.")
    enabled: bool = True


class ClaimsIn(Body):
    claims: dict[str, Any] = Field(description="As the provider sends them.")
    source: Name = Field(PEOPLE, description="`people`, or the name of an issuer.")


class MappedOut(Schema):
    roles: list[str]
    mappings: list[str] = Field(description="The names of those that gave them.")


MAPPINGS: Final = "/orgs/{org}/attribute-mappings"


@router.get(MAPPINGS, response={200: Page[MappingOut], **FAULTS}, tags=["attribute-mappings"])
def list_mappings(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    rows = AttributeMapping.objects.for_org(org_of(request, org, Right.VIEW_CONFIG))
    return page(rows, paging, ["name"], lambda row: row)


@router.post(f"{MAPPINGS}/preview", response={200: MappedOut, **FAULTS}, tags=["attribute-mappings"])
def preview_claims(request: HttpRequest, org: Name, data: ClaimsIn) -> Any:
    """The roles that these claims would give. Nothing is changed."""
    found = mappings.preview(org_of(request, org, Right.VIEW_CONFIG), data.source, data.claims)
    return {"roles": sorted(found.roles), "mappings": list(found.lines)}


@router.get(f"{MAPPINGS}/{{name}}", response={200: MappingOut, **FAULTS}, tags=["attribute-mappings"])
def get_mapping(request: HttpRequest, org: Name, name: Name) -> Any:
    return _mapping(org_of(request, org, Right.VIEW_CONFIG), name)


@router.put(
    f"{MAPPINGS}/{{name}}", response={200: MappingOut, 201: MappingOut, **FAULTS}, tags=["attribute-mappings"]
)
def put_mapping(request: HttpRequest, org: Name, name: Name, data: MappingIn) -> Any:
    """Make a mapping, or replace it. It holds at once for everybody who has signed in."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_MEMBERS)
    before = AttributeMapping.objects.for_org(place).filter(name=name).first()
    may_give(who, place, [*data.roles, *(before.roles if before else ())])
    row, made = mappings.put_mapping(place, name, data.model_dump(), by=who.actor)
    return Status(201 if made else 200, row)


@router.delete(f"{MAPPINGS}/{{name}}", response={204: None, **FAULTS}, tags=["attribute-mappings"])
def delete_mapping(request: HttpRequest, org: Name, name: Name) -> Any:
    who, place = caller(request), org_of(request, org, Right.MANAGE_MEMBERS)
    row = _mapping(place, name)
    may_give(who, place, row.roles)
    mappings.delete_mapping(row, by=who.actor)
    return Status(204, None)


def _mapping(org: Org, name: str) -> AttributeMapping:
    found = AttributeMapping.objects.for_org(org).filter(name=name).select_related("org").first()
    if found is None:
        raise unknown()
    return found


def _may_change(who: Caller, org: Org, name: str, rights: list[Right]) -> None:
    row = Role.objects.for_org(org).filter(name=name).first()
    before = set(row.rights) if row else set()
    changed = {right.value for right in rights} ^ before
    beyond = sorted(changed - {right.value for right in who.held(org)})
    if beyond:
        raise ApiFault(403, "forbidden", f"You do not hold {', '.join(beyond)}.", {"rights": "more than yours"})


def _role(org: Org, name: str) -> Role:
    found = Role.objects.for_org(org).filter(name=name).select_related("org").first()
    if found is None:
        raise unknown()
    return found


def _role_out(role: Role) -> dict[str, Any]:
    rights = sorted(RIGHTS[role.name]) if role.builtin else role.rights
    return {"name": role.name, "builtin": role.builtin, "rights": rights, "auto_grant": role.auto_grant}
