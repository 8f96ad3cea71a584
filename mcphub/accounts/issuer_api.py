"""REST: issuers of tokens."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from mcphub.accounts import issuers
from mcphub.accounts.api import FAULTS, may_give
from mcphub.accounts.models import Issuer, Org
from mcphub.accounts.rest import caller, org_of, unknown
from mcphub.accounts.rest_shapes import Body, Name, Page, Paging, Text, page
from mcphub.accounts.roles import Right

router: Final = Router()
ALL: Final = "/orgs/{org}/issuers"
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class IssuerOut(Schema):
    name: str
    issuer: str
    audiences: list[str]
    algorithms: list[str]
    required: dict[str, list[str]]
    roles: list[str]
    advertised: bool
    enabled: bool
    created_at: datetime


class IssuerIn(Body):
    issuer: Annotated[Text, Field(max_length=300)] = Field(description="As `iss` in its tokens.")
    audiences: list[Text] = Field(min_length=1, max_length=20, description="One of them must be in `aud`.")
    algorithms: list[Algorithm] = Field(["RS256"], min_length=1, max_length=10)
    required: dict[Name, list[Text]] = Field({}, description="Claims that must hold one of these texts each.")
    roles: list[Name] = Field([], max_length=50, description="What every token gives, besides attribute mappings.")
    advertised: bool = Field(False, description="The metadata of `/mcp/{org}` names it as authorization server.")
    enabled: bool = True


@router.get(ALL, response={200: Page[IssuerOut], **FAULTS}, tags=["issuers"])
def list_issuers(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    rows = Issuer.objects.for_org(org_of(request, org, Right.VIEW_CONFIG))
    return page(rows, paging, ["name"], lambda row: row)


@router.get(f"{ALL}/{{name}}", response={200: IssuerOut, **FAULTS}, tags=["issuers"])
def get_issuer(request: HttpRequest, org: Name, name: Name) -> Any:
    return _issuer(org_of(request, org, Right.VIEW_CONFIG), name)


@router.put(f"{ALL}/{{name}}", response={200: IssuerOut, 201: IssuerOut, **FAULTS}, tags=["issuers"])
def put_issuer(request: HttpRequest, org: Name, name: Name, data: IssuerIn) -> Any:
    """Trust an issuer, or change what its tokens must say and give."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_MEMBERS)
    before = Issuer.objects.for_org(place).filter(name=name).first()
    may_give(who, place, [*data.roles, *(before.roles if before else ())])
    row, made = issuers.put_issuer(place, name, data.model_dump(), by=who.actor)
    return Status(201 if made else 200, row)


@router.delete(f"{ALL}/{{name}}", response={204: None, **FAULTS}, tags=["issuers"])
def delete_issuer(request: HttpRequest, org: Name, name: Name) -> Any:
    who, place = caller(request), org_of(request, org, Right.MANAGE_MEMBERS)
    row = _issuer(place, name)
    may_give(who, place, row.roles)
    issuers.delete_issuer(row, by=who.actor)
    return Status(204, None)


def _issuer(org: Org, name: str) -> Issuer:
    found = Issuer.objects.for_org(org).filter(name=name).select_related("org").first()
    if found is None:
        raise unknown()
    return found
