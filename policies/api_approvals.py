"""REST: calls that are held until somebody answers, and how an org goes about them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from mcphub.accounts.api import FAULTS
from mcphub.accounts.models import Org
from mcphub.accounts.rest import ApiFault, caller, org_of, unknown
from mcphub.accounts.rest_shapes import Body, Name, Page, Paging, Text, page
from mcphub.accounts.roles import Right
from policies.approvals import answering, selectors
from policies.approvals.answering import Refused
from policies.approvals.models import ApprovalSettings, CallApproval
from policies.approvals.settings import put_settings

router: Final = Router()
ALL: Final = "/orgs/{org}/approvals"
ONE: Final = f"{ALL}/{{approval}}"
State = Literal["waiting", "approved", "denied", "used", "expired", "revoked"]


class ApprovalOut(Schema):
    """A held call."""

    id: UUID
    call_id: str
    state: State
    principal: str
    application: str
    method: str
    upstream: str
    name: str
    risk: str
    rule: str = Field(description="The id of the rule that asks.")
    reason: str
    arguments: dict[str, Any] = Field(description="Exactly those that the server would get.")
    digest: str = Field(description="SHA-256 over principal, target and arguments: what the answer is about.")
    lasting: bool = Field(description="Approved for every call of the principal to this tool, until `ends_at`.")
    asked_at: datetime
    ends_at: datetime
    answered_at: datetime | None
    answered_by: str
    note: str


class ApproveIn(Body):
    seconds: Literal[0, 900, 3600, 28800] = Field(0, description="0: this call once; else every call to this tool.")


class DenyIn(Body):
    note: Annotated[Text, Field(max_length=300)] = Field("", description="Told to whoever called.")


class SettingsOut(Schema):
    own_calls: bool
    webhook_url: str


class SettingsIn(Body):
    own_calls: bool = False
    webhook_url: Annotated[Text, Field(max_length=500)] = ""


class SettingsKept(SettingsOut):
    webhook_secret: str = Field(description="Of a new webhook, only in this answer; else empty.")


class Filter(Paging):
    state: State | None = None


@router.get(ALL, response={200: Page[ApprovalOut], **FAULTS}, tags=["approvals"])
def list_approvals(request: HttpRequest, org: Name, asked: Query[Filter]) -> Any:
    """Held calls, the newest last; `state=waiting` is the inbox."""
    rows = CallApproval.objects.for_org(org_of(request, org, Right.APPROVE))
    if asked.state:
        rows = rows.filter(state=asked.state)
    return page(rows, asked, ["id"], _out)


@router.get(ONE, response={200: ApprovalOut, **FAULTS}, tags=["approvals"])
def get_approval(request: HttpRequest, org: Name, approval: UUID) -> Any:
    return _out(_approval(org_of(request, org, Right.APPROVE), approval))


@router.post(f"{ONE}/approve", response={200: ApprovalOut, **FAULTS}, tags=["approvals"])
def approve(request: HttpRequest, org: Name, approval: UUID, data: ApproveIn) -> Any:
    """Let it through. Nobody approves their own call with a key."""
    row = _approval(org_of(request, org, Right.APPROVE), approval)
    return _changed(row, lambda: answering.approve(row, by=caller(request).actor, seconds=data.seconds))


@router.post(f"{ONE}/deny", response={200: ApprovalOut, **FAULTS}, tags=["approvals"])
def deny(request: HttpRequest, org: Name, approval: UUID, data: DenyIn) -> Any:
    """Refuse it; the same call is not asked about again for a while."""
    row = _approval(org_of(request, org, Right.APPROVE), approval)
    return _changed(row, lambda: answering.deny(row, by=caller(request).actor, note=data.note))


@router.delete(ONE, response={204: None, **FAULTS}, tags=["approvals"])
def revoke(request: HttpRequest, org: Name, approval: UUID) -> Any:
    """Take an approval back that still holds."""
    row = _approval(org_of(request, org, Right.APPROVE), approval)
    _changed(row, lambda: answering.revoke(row, by=caller(request).actor))
    return Status(204, None)


@router.get("/orgs/{org}/approval-settings", response={200: SettingsOut, **FAULTS}, tags=["approvals"])
def get_settings(request: HttpRequest, org: Name) -> Any:
    place = org_of(request, org, Right.VIEW_CONFIG)
    return ApprovalSettings.objects.filter(org=place).first() or ApprovalSettings(org=place)


@router.put("/orgs/{org}/approval-settings", response={200: SettingsKept, **FAULTS}, tags=["approvals"])
def change_settings(request: HttpRequest, org: Name, data: SettingsIn) -> Any:
    """Say who may approve, and which address is told of held calls (Standard Webhooks)."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_POLICY)
    secret = put_settings(place, data.own_calls, data.webhook_url, by=who.actor)
    return {**data.dict(), "webhook_secret": secret}


def _changed(row: CallApproval, change: Any) -> dict[str, Any]:
    try:
        change()
    except Refused as refused:
        raise ApiFault(409, "refused", str(refused)) from None
    return _out(row)


def _approval(org: Org, id: UUID) -> CallApproval:
    found = CallApproval.objects.for_org(org).select_related("org").filter(pk=id).first()
    if found is None:
        raise unknown()
    return found


def _out(row: CallApproval) -> dict[str, Any]:
    names = ("call_id", "principal", "application", "method", "upstream", "name", "risk", "rule", "reason", "digest")
    more = ("lasting", "asked_at", "ends_at", "answered_at", "answered_by", "note")
    facts = {name: getattr(row, name) for name in (*names, *more)}
    return {"id": row.pk, "state": selectors.state_now(row), "arguments": row.arguments or {}, **facts}
