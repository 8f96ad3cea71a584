"""REST: rules, grants, and what policy says to a call."""

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from mcphub.accounts.api import FAULTS
from mcphub.accounts.models import Org
from mcphub.accounts.rest import ApiFault, caller, org_of, unknown
from mcphub.accounts.rest_shapes import Body, Name, Page, Paging, Text, page
from mcphub.accounts.roles import Right
from mcphub.accounts.selectors import principal_named
from policies import changes
from policies.explaining import UnknownTool, explain
from policies.models import Grant, Role, Rule
from policies.service import review_rule
from policies.types import Kind, Risk
from upstreams.models import Upstream

router: Final = Router()

RuleName = Annotated[Name, Field(max_length=80)]
Globs = Annotated[list[Annotated[Text, Field(min_length=1)]], Field(max_length=200)]
SENT: Final = ("effect", "priority", *Rule.LISTS, "condition", "reason", "enabled")


class RuleIn(Body):
    """A rule as a whole: what is left out is as for a new one. Lists are of globs, and empty ones do not narrow."""

    effect: Literal["allow", "deny", "ask"]
    priority: int = Field(100, ge=-(2**31) + 1, le=2**31 - 1, description="The lowest comes first.")
    kinds: list[Kind] = Field(["tool"], min_length=1, max_length=4)
    roles: Globs = []
    upstreams: Globs = []
    tools: Globs = Field([], description="Original names, or URIs of resources.")
    risks: list[Risk] = Field([], max_length=len(Risk))
    applications: Globs = []
    condition: str = Field("", max_length=2_000, description="CEL over principal, tool, arguments and client.")
    reason: Annotated[Text, Field(max_length=200)] = ""
    enabled: bool = True


class RuleOut(RuleIn):
    name: str


class RuleKept(RuleOut):
    """A rule that was saved; `warnings` say why it may never decide anything, `touches` how much it speaks of."""

    touches: int
    warnings: list[str]


class GrantIn(Body):
    access: Literal["none", "read-only", "all", "custom"]
    tools: dict[Kind, dict[str, bool]] = Field({}, description="Single switches, which beat the access.")


class GrantOut(GrantIn):
    role: str
    upstream: str


class ExplainIn(Body):
    principal: Name = Field(description="E-mail of a member, or name of a key.")
    name: Annotated[Text, Field(min_length=1)] = Field(description="As clients call it; of a resource the URI.")
    kind: Kind = "tool"
    arguments: dict[str, Any] | None = Field(None, description="Left out: whatever they are.")


class TargetOut(Schema):
    kind: str
    upstream: str
    name: str
    risk: str


class LineOut(Schema):
    rule: str
    name: str
    matched: bool
    why: str
    failure: str


class ExplainOut(Schema):
    """`why` is of a closed list; `trace` are the lines that speak of the target, down to the one that decides."""

    target: TargetOut
    effect: str
    why: str
    rule: str
    rule_name: str
    reason: str
    trace: list[LineOut]
    listed: bool
    open_arguments: bool
    needed: str
    opened_for: list[str]
    right: str
    changeable_by: list[str]
    arguments: dict[str, Any]


@router.get("/orgs/{org}/rules", response={200: Page[RuleOut], **FAULTS}, tags=["policy"])
def list_rules(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    """By priority, then by name."""
    return page(
        Rule.objects.for_org(org_of(request, org, Right.VIEW_CONFIG)), paging, ["priority", "name"], _rule_out
    )


@router.get("/orgs/{org}/rules/{name}", response={200: RuleOut, **FAULTS}, tags=["policy"])
def get_rule(request: HttpRequest, org: Name, name: RuleName) -> Any:
    return _rule_out(_rule(org_of(request, org, Right.VIEW_CONFIG), name))


@router.put("/orgs/{org}/rules/{name}", response={200: RuleKept, 201: RuleKept, **FAULTS}, tags=["policy"])
def put_rule(request: HttpRequest, org: Name, name: RuleName, data: RuleIn) -> Any:
    """Make a rule, or replace it."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    row, made = changes.put_rule(place, name, data.dict(), by=who.actor)
    review = review_rule(place.pk, row.spec())
    kept = {**_rule_out(row), "touches": len(review.touched), "warnings": list(review.warnings)}
    return Status(201 if made else 200, kept)


@router.delete("/orgs/{org}/rules/{name}", response={204: None, **FAULTS}, tags=["policy"])
def delete_rule(request: HttpRequest, org: Name, name: RuleName) -> Any:
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    changes.delete(_rule(place, name), by=who.actor)
    return Status(204, None)


@router.get("/orgs/{org}/grants", response={200: Page[GrantOut], **FAULTS}, tags=["policy"])
def list_grants(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    """By upstream, then by role."""
    rows = Grant.objects.for_org(org_of(request, org, Right.VIEW_CONFIG)).select_related("role", "upstream")
    return page(rows, paging, ["upstream__slug", "role__name"], _grant_out)


@router.get("/orgs/{org}/grants/{role}/{upstream}", response={200: GrantOut, **FAULTS}, tags=["policy"])
def get_grant(request: HttpRequest, org: Name, role: Name, upstream: Name) -> Any:
    return _grant_out(_grant(org_of(request, org, Right.VIEW_CONFIG), role, upstream))


@router.put(
    "/orgs/{org}/grants/{role}/{upstream}", response={200: GrantOut, 201: GrantOut, **FAULTS}, tags=["policy"]
)
def put_grant(request: HttpRequest, org: Name, role: Name, upstream: Name, data: GrantIn) -> Any:
    """Say what a role reaches on an upstream."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    holder = Role.objects.for_org(place).filter(name=role).first()
    reached = Upstream.objects.for_org(place).filter(slug=upstream).first()
    if holder is None or reached is None:
        raise unknown()
    row, made = changes.put_grant(place, holder, reached, data.dict(), by=who.actor)
    return Status(201 if made else 200, _grant_out(row))


@router.delete("/orgs/{org}/grants/{role}/{upstream}", response={204: None, **FAULTS}, tags=["policy"])
def delete_grant(request: HttpRequest, org: Name, role: Name, upstream: Name) -> Any:
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    changes.delete(_grant(place, role, upstream), by=who.actor)
    return Status(204, None)


@router.post("/orgs/{org}/explain", response={200: ExplainOut, **FAULTS}, tags=["policy"])
def explain_call(request: HttpRequest, org: Name, data: ExplainIn) -> Any:
    """What policy says to a call that nobody makes, why, and who can change it."""
    place = org_of(request, org, Right.VIEW_CONFIG)
    principal = principal_named(place.pk, data.principal)
    if principal is None:
        raise ApiFault(404, "not_found", f"{org} has no member and no working key {data.principal}.")
    try:
        return asdict(explain(place, principal, data.name, data.arguments, data.kind))
    except UnknownTool as absent:
        raise ApiFault(404, "not_found", f"{absent}.") from None


def _rule(org: Org, name: str) -> Rule:
    found = Rule.objects.for_org(org).select_related("org").filter(name=name).first()
    if found is None:
        raise unknown()
    return found


def _grant(org: Org, role: str, upstream: str) -> Grant:
    rows = Grant.objects.for_org(org).select_related("org", "role", "upstream")
    found = rows.filter(role__name=role, upstream__slug=upstream).first()
    if found is None:
        raise unknown()
    return found


def _rule_out(row: Rule) -> dict[str, Any]:
    return {"name": row.name, **{field: getattr(row, field) for field in SENT}}


def _grant_out(row: Grant) -> dict[str, Any]:
    return {"role": row.role.name, "upstream": row.upstream.slug, "access": row.access, "tools": row.tools}
