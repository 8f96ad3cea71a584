"""REST: rate limits."""

from typing import Any, Final, Literal

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from mcphub.accounts.api import FAULTS
from mcphub.accounts.models import Org
from mcphub.accounts.putting import put, remove
from mcphub.accounts.rest import caller, org_of, unknown
from mcphub.accounts.rest_shapes import Body, Name, Page, Paging, page
from mcphub.accounts.roles import Right
from policies.models import RateLimit

router: Final = Router()
ALL: Final = "/orgs/{org}/rate-limits"
Per = Literal["principal", "org", "upstream", "tool"]


class RateLimitOut(Schema):
    name: str
    per: Per
    calls: int
    seconds: int
    roles: list[str]
    upstreams: list[str]
    tools: list[str]
    enabled: bool


class RateLimitIn(Body):
    per: Per = Field("principal", description="Each of these is counted by itself; `org`: all calls together.")
    calls: int = Field(ge=1, le=RateLimit.MOST_CALLS, description="At most so many in any `seconds`.")
    seconds: int = Field(60, ge=1, le=RateLimit.LONGEST_S)
    roles: list[Name] = Field([], max_length=50, description="Globs; empty: any.")
    upstreams: list[Name] = Field([], max_length=200, description="Globs; empty: any.")
    tools: list[Name] = Field([], max_length=200, description="Globs over original names; empty: any.")
    enabled: bool = True


@router.get(ALL, response={200: Page[RateLimitOut], **FAULTS}, tags=["policy"])
def list_rate_limits(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    rows = RateLimit.objects.for_org(org_of(request, org, Right.VIEW_CONFIG))
    return page(rows, paging, ["name"], lambda row: row)


@router.get(f"{ALL}/{{name}}", response={200: RateLimitOut, **FAULTS}, tags=["policy"])
def get_rate_limit(request: HttpRequest, org: Name, name: Name) -> Any:
    return _limit(org_of(request, org, Right.VIEW_CONFIG), name)


@router.put(f"{ALL}/{{name}}", response={200: RateLimitOut, 201: RateLimitOut, **FAULTS}, tags=["policy"])
def put_rate_limit(request: HttpRequest, org: Name, name: Name, data: RateLimitIn) -> Any:
    """Limit how often calls are made, in force within a second."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    row, made = put(RateLimit, place, data.dict(), by=who.actor, called=name, name=name)
    return Status(201 if made else 200, row)


@router.delete(f"{ALL}/{{name}}", response={204: None, **FAULTS}, tags=["policy"])
def delete_rate_limit(request: HttpRequest, org: Name, name: Name) -> Any:
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    remove(_limit(place, name), place, by=who.actor, called=name)
    return Status(204, None)


def _limit(org: Org, name: str) -> RateLimit:
    found = RateLimit.objects.for_org(org).filter(name=name).first()
    if found is None:
        raise unknown()
    return found
