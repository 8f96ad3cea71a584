"""REST: the caller's own connections with upstreams, and for operators how everybody's are. Never a secret."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from gateway import connect
from gateway.connections import Line, lines_of
from mcphub.accounts.api import FAULTS
from mcphub.accounts.models import Org
from mcphub.accounts.rest import ApiFault, Caller, caller, invalid, org_of, unknown
from mcphub.accounts.rest_shapes import Body, Name, Page, Paging, Text, page
from mcphub.accounts.roles import Right
from mcphub.accounts.selectors import person_principal
from mcphub.core.principal import KeyScope, Principal
from upstreams.credentials import links, services
from upstreams.models import Credential

router: Final = Router()


class ConnectionOut(Schema):
    """How one upstream stands between it and the caller."""

    upstream: str
    name: str
    mode: str = Field(description="`none`, `shared` or `per-user`")
    kind: str = Field(description="`api-key` or `oauth`")
    state: str = Field(description="`not_needed`, `not_connected`, or the state of the account")
    problem: str
    account: str
    scopes: list[str]
    connected_at: datetime | None
    last_used_at: datetime | None
    may_connect: bool


class LinkOut(Schema):
    url: str = Field(description="The page where the caller connects; it wants a sign-in and ends after a while.")


class KeyIn(Body):
    key: str = Field(min_length=1, max_length=8_000, pattern=r"^[\x21-\x7E]+$", description="Write-only.")
    account: Annotated[Text, Field(max_length=200)] = ""
    take_over: bool = Field(False, description="Replace what somebody else connected for everybody.")


class CredentialOut(Schema):
    """Whose account is connected where, as operators may know it."""

    id: UUID
    upstream: str
    holder: str = Field(description='A principal\'s id; "" for the account that everybody uses')
    state: str
    problem: str
    account: str
    connected_by: str
    connected_at: datetime
    last_used_at: datetime | None


@router.get("/orgs/{org}/connections", response={200: list[ConnectionOut], **FAULTS}, tags=["connections"])
def list_connections(request: HttpRequest, org: Name) -> Any:
    """Every upstream that the caller may use."""
    return [_connection(line) for line in _lines(request, org)]


@router.post("/orgs/{org}/connections/{upstream}/link", response={200: LinkOut, **FAULTS}, tags=["connections"])
def make_link(request: HttpRequest, org: Name, upstream: Name) -> Any:
    """A link to the page where the caller connects this upstream."""
    line = _changeable(request, org, upstream)
    return {"url": links.connect_link(str(line.upstream.pk), line.seat.holder)}


@router.put("/orgs/{org}/connections/{upstream}", response={200: ConnectionOut, **FAULTS}, tags=["connections"])
def put_connection(request: HttpRequest, org: Name, upstream: Name, data: KeyIn) -> Any:
    """Connect with an API key, in place of what was connected."""
    line = _changeable(request, org, upstream)
    if not line.by_key:
        raise invalid("This upstream is connected by signing in there: ask for a link.")
    try:
        by = caller(request).actor
        connect.by_key(line, data.key, by=by, take_over=data.take_over, account=data.account)
    except connect.Refused as refused:
        raise invalid(str(refused), key=str(refused)) from None
    except services.Occupied as occupied:
        raise ApiFault(409, "occupied", f"{occupied.by} connected it; say take_over.") from None
    return _connection(_changeable(request, org, upstream))


@router.delete("/orgs/{org}/connections/{upstream}", response={204: None, **FAULTS}, tags=["connections"])
def delete_connection(request: HttpRequest, org: Name, upstream: Name) -> Any:
    """Disconnect: the hub forgets the account."""
    line = _changeable(request, org, upstream)
    if line.credential is None:
        raise unknown()
    services.disconnect(line.credential, by=caller(request).actor)
    return Status(204, None)


@router.get("/orgs/{org}/credentials", response={200: Page[CredentialOut], **FAULTS}, tags=["connections"])
def list_credentials(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    """Everybody's accounts, for operators."""
    rows = Credential.objects.for_org(org_of(request, org, Right.VIEW_CONFIG)).select_related("upstream")
    return page(rows, paging, ["id"], _credential)


@router.delete("/orgs/{org}/credentials/{id}", response={204: None, **FAULTS}, tags=["connections"])
def revoke_credential(request: HttpRequest, org: Name, id: UUID) -> Any:
    """Forget somebody's account."""
    rows = Credential.objects.for_org(org_of(request, org, Right.MANAGE_UPSTREAMS)).select_related("upstream__org")
    row = rows.filter(pk=id).first()
    if row is None:
        raise unknown()
    services.disconnect(row, by=caller(request).actor)
    return Status(204, None)


def _lines(request: HttpRequest, org: str) -> list[Line]:
    who, place = caller(request), org_of(request, org)
    principal = _principal(who, place)
    return lines_of(principal, who.held(place)) if principal else []


def _principal(who: Caller, org: Org) -> Principal | None:
    if who.principal is not None:
        return who.principal
    return person_principal(who.user.pk, org.pk) if who.user else None


def _changeable(request: HttpRequest, org: str, slug: str) -> Line:
    who = caller(request)
    if who.principal is not None and who.principal.scope != KeyScope():
        raise ApiFault(403, "forbidden", "A key that is narrowed to some tools connects nothing.")
    line = next((each for each in _lines(request, org) if each.upstream.slug == slug), None)
    if line is None or not line.wants_account:
        raise unknown()
    if not line.may_connect:
        raise ApiFault(403, "forbidden", f"This needs the right {Right.MANAGE_UPSTREAMS.value} in {org}.")
    return line


def _connection(line: Line) -> dict[str, Any]:
    held = line.credential
    known = held if line.may_connect else None
    state = "not_needed" if not line.wants_account else held.state if held else "not_connected"
    return {
        "upstream": line.upstream.slug,
        "name": line.upstream.name,
        "mode": line.upstream.credential_mode,
        "kind": line.upstream.credential_kind,
        "state": state,
        "problem": held.problem if held else "",
        "account": known.account if known else "",
        "scopes": known.scopes if known else [],
        "connected_at": held.connected_at if held else None,
        "last_used_at": held.last_used_at if held else None,
        "may_connect": line.may_connect and line.wants_account,
    }


def _credential(row: Credential) -> dict[str, Any]:
    return {
        "id": row.pk,
        "upstream": row.upstream.slug,
        "holder": row.holder,
        "state": row.state,
        "problem": row.problem,
        "account": row.account,
        "connected_by": row.connected_by,
        "connected_at": row.connected_at,
        "last_used_at": row.last_used_at,
    }
