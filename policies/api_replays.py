"""REST: drafts of policy tried on the calls of the last days."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from mcphub.accounts import acts
from mcphub.accounts.api import FAULTS
from mcphub.accounts.models import Org
from mcphub.accounts.rest import caller, invalid, org_of, unknown
from mcphub.accounts.rest_shapes import Body, Name, Page, Paging, page
from mcphub.accounts.roles import Right
from policies import replays
from policies.api_rules import RuleIn, RuleName
from policies.drafts import MAX_RULES, BadDraft
from policies.models import Replay

router: Final = Router()
ALL: Final = "/orgs/{org}/replays"


class DraftRule(RuleIn):
    name: RuleName


class ReplayIn(Body):
    put: list[DraftRule] = Field([], max_length=MAX_RULES, description="Rules as they would be.")
    remove: list[RuleName] = Field([], max_length=MAX_RULES, description="Names of rules that would go.")
    days: int = Field(7, ge=1, le=replays.MAX_DAYS)
    title: Name = "Over the API"


class ChangeOut(Schema):
    principal: str
    upstream: str
    name: str
    before: str
    after: str
    count: int
    last_at: int = Field(description="Microseconds since 1970.")
    call_id: str = Field(description="The latest of them.")
    rule: str
    reason: str


class FoundOut(Schema):
    calls: int
    changed: int
    by_effect: dict[str, int] = Field(description="`before-after` → calls")
    unknown: dict[str, int] = Field(description="Calls that cannot be decided again, by the reason why.")
    problems: list[str]
    changes: list[ChangeOut]


class ReplayOut(Schema):
    id: UUID
    title: str
    days: int
    asked_by: str
    asked_at: datetime
    state: Literal["due", "running", "done", "failed"]
    calls: int = Field(description="Read so far.")
    fault: str


class ReplayWhole(ReplayOut):
    result: FoundOut | None


@router.get(ALL, response={200: Page[ReplayOut], **FAULTS}, tags=["replays"])
def list_replays(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    rows = Replay.objects.for_org(org_of(request, org, Right.READ_AUDIT))
    return page(rows, paging, ["id"], lambda row: row)


@router.post(ALL, response={202: ReplayOut, **FAULTS}, tags=["replays"])
def ask_for_replay(request: HttpRequest, org: Name, data: ReplayIn) -> Any:
    """Have a draft tried. A worker does it; ask for the replay until its state is `done`."""
    place, who = org_of(request, org, Right.MANAGE_POLICY), caller(request)
    org_of(request, org, Right.READ_AUDIT)
    document = {"put": [rule.dict() for rule in data.put], "remove": list(data.remove)}
    try:
        return Status(202, replays.ask(place, data.title, document, data.days, by=who.actor))
    except BadDraft as fault:
        raise invalid(str(fault)) from None


@router.get(f"{ALL}/{{replay}}", response={200: ReplayWhole, **FAULTS}, tags=["replays"])
def get_replay(request: HttpRequest, org: Name, replay: UUID) -> Any:
    """How far it is, and what it found."""
    return _replay(org_of(request, org, Right.READ_AUDIT), replay)


@router.delete(f"{ALL}/{{replay}}", response={204: None, **FAULTS}, tags=["replays"])
def delete_replay(request: HttpRequest, org: Name, replay: UUID) -> Any:
    place = org_of(request, org, Right.MANAGE_POLICY)
    row = _replay(place, replay)
    acts.record(caller(request).actor, place, "replay.delete", row.title)
    row.delete()
    return Status(204, None)


def _replay(org: Org, id: UUID) -> Replay:
    found = Replay.objects.for_org(org).filter(pk=id).first()
    if found is None:
        raise unknown()
    return found
