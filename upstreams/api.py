"""REST: upstreams and their tools. An upstream has the shape that it has in the configuration document.

Secrets go in as `{"secret": text}` and come out as `{"stored": true}`, which, sent back, keeps what is stored.
"""

from typing import Annotated, Any, Final, Literal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from ninja import Body as Sent
from ninja import Query, Router, Schema, Status

from mcphub.accounts import acts as account_acts
from mcphub.accounts.api import FAULTS
from mcphub.accounts.declared.owned import refuse_owned
from mcphub.accounts.declared.sections import BadPart, Sources
from mcphub.accounts.models import Org
from mcphub.accounts.rest import ApiFault, Caller, caller, invalid, org_of, unknown
from mcphub.accounts.rest_shapes import Body, Name, Page, Paging, page
from mcphub.accounts.roles import Right
from mcphub.accounts.services import Refused
from mcphub.core.keyring import KeyringError
from upstreams import acts, services
from upstreams.addresses import blocked_at
from upstreams.declared import PAIRS, STORED, UpstreamSection
from upstreams.formgiven import origin_of
from upstreams.models import Definition, Upstream
from upstreams.selectors import config_fault, spec_of

router: Final = Router()
SECTION: Final = UpstreamSection()
NOTHING: Final = Sources(folder=None)
ASKS: Final = {
    "refresh": services.mark_refresh_due,
    "probe": services.mark_restart_due,
    "restart": services.mark_restart_due,
}
Given = Annotated[dict[str, Any], Sent(...)]


class UpstreamOut(Schema):
    slug: str
    config: dict[str, Any]
    enabled: bool
    state: str
    era: str
    last_error: str
    fault: str


class LogsOut(Schema):
    last_error: str
    stderr: str


class ToolOut(Schema):
    name: str
    kind: str
    enabled: bool
    risk: str
    risk_override: str
    held: bool


class ToolChange(Body):
    enabled: bool | None = None
    risk: Literal["", "read", "write", "external", "destructive", "admin"] | None = None


@router.get("/orgs/{org}/upstreams", response={200: Page[UpstreamOut], **FAULTS}, tags=["upstreams"])
def list_upstreams(request: HttpRequest, org: Name, paging: Query[Paging]) -> Any:
    place = org_of(request, org, Right.VIEW_CONFIG)
    return page(Upstream.objects.for_org(place).select_related("state"), paging, ["slug"], _out)


@router.get("/orgs/{org}/upstreams/{slug}", response={200: UpstreamOut, **FAULTS}, tags=["upstreams"])
def get_upstream(request: HttpRequest, org: Name, slug: Name) -> Any:
    return _out(_row(org_of(request, org, Right.VIEW_CONFIG), slug))


@router.put(
    "/orgs/{org}/upstreams/{slug}", response={200: UpstreamOut, 201: UpstreamOut, **FAULTS}, tags=["upstreams"]
)
def put_upstream(request: HttpRequest, org: Name, slug: Name, data: Given) -> Any:
    """Make an upstream, or make it what is sent: what is left out is as usual, not as it was."""
    who, place = caller(request), org_of(request, org, Right.MANAGE_UPSTREAMS)
    with transaction.atomic():
        row = Upstream.objects.for_org(place).select_for_update().filter(slug=slug).first()
        made = row is None
        try:
            saved = _put(who, place, slug, row, data)
        except BadPart as fault:
            raise invalid(fault.text, **{fault.key or "upstream": fault.text}) from None
        except ValidationError as error:
            raise invalid("This cannot be stored.", **_faults(error)) from None
    return Status(201 if made else 200, _out(saved))


@router.delete("/orgs/{org}/upstreams/{slug}", response={204: None, **FAULTS}, tags=["upstreams"])
def delete_upstream(request: HttpRequest, org: Name, slug: Name) -> Any:
    who, row = caller(request), _changeable(request, org, slug)
    with transaction.atomic():
        acts.record_deleted(who.actor, row)
        row.delete()
    return Status(204, None)


@router.post("/orgs/{org}/upstreams/{slug}/start", response={200: UpstreamOut, **FAULTS}, tags=["upstreams"])
def start_upstream(request: HttpRequest, org: Name, slug: Name) -> Any:
    return _switch(request, org, slug, True)


@router.post("/orgs/{org}/upstreams/{slug}/stop", response={200: UpstreamOut, **FAULTS}, tags=["upstreams"])
def stop_upstream(request: HttpRequest, org: Name, slug: Name) -> Any:
    return _switch(request, org, slug, False)


@router.get("/orgs/{org}/upstreams/{slug}/logs", response={200: LogsOut, **FAULTS}, tags=["upstreams"])
def upstream_logs(request: HttpRequest, org: Name, slug: Name) -> Any:
    """The last error, and what a command wrote to standard error; stored secrets in either are masked."""
    state = _row(org_of(request, org, Right.MANAGE_UPSTREAMS), slug).state
    return {"last_error": state.last_error, "stderr": state.stderr_tail}


@router.get("/orgs/{org}/upstreams/{slug}/tools", response={200: Page[ToolOut], **FAULTS}, tags=["tools"])
def list_tools(request: HttpRequest, org: Name, slug: Name, paging: Query[Paging]) -> Any:
    row = _row(org_of(request, org, Right.VIEW_CONFIG), slug)
    tools = Definition.objects.filter(upstream=row, kind="tool").select_related("current")
    return page(tools, paging, ["name"], _tool_out)


@router.patch("/orgs/{org}/upstreams/{slug}/tools/{path:name}", response={200: ToolOut, **FAULTS}, tags=["tools"])
def patch_tool(request: HttpRequest, org: Name, slug: Name, name: Name, data: ToolChange) -> Any:
    """Switch a tool on or off, or say what class of risk it is of; "" is the class that was found."""
    who, upstream = caller(request), _row(org_of(request, org, Right.MANAGE_UPSTREAMS), slug)
    with transaction.atomic():
        rows = Definition.objects.select_for_update(of=("self",)).select_related("upstream__org", "current")
        row = rows.filter(upstream=upstream, kind="tool", name=name).first()
        if row is None:
            raise unknown()
        refuse_owned(row)
        before = acts.facts_of(row)
        row.enabled = row.enabled if data.enabled is None else data.enabled
        row.risk_override = row.risk_override if data.risk is None else data.risk
        row.save(update_fields=["enabled", "risk_override"])
        acts.record_change(who.actor, row, before)
    return _tool_out(row)


@router.post("/orgs/{org}/upstreams/{slug}/{what}", response={202: UpstreamOut, **FAULTS}, tags=["upstreams"])
def ask_upstream(request: HttpRequest, org: Name, slug: Name, what: Literal["probe", "refresh", "restart"]) -> Any:
    """`refresh` lists its definitions again, `probe` and `restart` connect anew: within a second or two."""
    row = _row(org_of(request, org, Right.MANAGE_UPSTREAMS), slug)
    ASKS[what]([row.pk])
    acts.record_asked(caller(request).actor, row, what)
    return Status(202, _out(row))


def _put(who: Caller, org: Org, slug: str, row: Upstream | None, data: dict[str, Any]) -> Upstream:
    if row is not None:
        _refuse_file(row)
    before = SECTION.facts(row) if row is not None else {}
    url, allowed = (row.url, row.egress_allow) if row is not None else ("", [])
    saved = row if row is not None else SECTION.make(org, slug)
    _check_kept(url, data)
    SECTION.take(saved, data, NOTHING)
    if sorted(saved.egress_allow) != sorted(allowed) and not (who.hub_admin and settings.HUB.mode == "standalone"):
        raise ApiFault(403, "forbidden", "Only a hub admin opens private addresses.", {"egress_allow": "not yours"})
    SECTION.check(saved)
    _check_address(saved)
    old, new = account_acts.changed(before, SECTION.facts(saved))
    if old or new:
        saved.save()
        (acts.record_change(who.actor, saved, before) if row is not None else acts.record_created(who.actor, saved))
    return saved


def _check_kept(url: str, data: dict[str, Any]) -> None:
    """Stored secrets do not follow to another place: who may not read them could send them to one of their own."""
    now = data.get("url", "")
    if not (url and isinstance(now, str) and now) or origin_of(url) == origin_of(now):
        return
    for column in PAIRS:
        pairs = data.get(column)
        kept = [key for key, value in pairs.items() if value == STORED] if isinstance(pairs, dict) else []
        if kept:
            raise BadPart(f"{column}.{kept[0]}", "the address changed: send the value again")
    if data.get("oauth") == STORED:
        raise BadPart("oauth", "the address changed: enter the client's secret again")


def _check_address(row: Upstream) -> None:
    url = spec_of(row).url
    if url and (blocked := blocked_at(url, row.egress_allow)):
        raise BadPart("url", f"{blocked.host} is at {blocked.address}, which is not a public address")


def _switch(request: HttpRequest, org: str, slug: str, on: bool) -> Any:
    row = _changeable(request, org, slug)
    services.set_enabled(Upstream.objects.filter(pk=row.pk), on, by=caller(request).actor)
    return _out(_row(row.org, slug))


def _changeable(request: HttpRequest, org: str, slug: str) -> Upstream:
    row = _row(org_of(request, org, Right.MANAGE_UPSTREAMS), slug)
    _refuse_file(row)
    return row


def _refuse_file(row: Upstream) -> None:
    if row.source:
        raise Refused(f"{row.slug} comes from {row.source} and is changed there")
    refuse_owned(row)


def _row(org: Org, slug: str) -> Upstream:
    found = Upstream.objects.for_org(org).filter(slug=slug).select_related("state", "org").first()
    if found is None:
        raise unknown()
    return found


def _out(row: Upstream) -> dict[str, Any]:
    state = row.state
    return {
        "slug": row.slug,
        "config": _config(row),
        "enabled": row.enabled,
        "state": state.state,
        "era": state.era,
        "last_error": state.last_error,
        "fault": config_fault(row),
    }


def _config(row: Upstream) -> dict[str, Any]:
    """Nothing where secrets cannot be opened: `fault` says so then."""
    try:
        return SECTION.out(row)
    except KeyringError:
        return {}


def _tool_out(row: Definition) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "enabled": row.enabled,
        "risk": row.risk,
        "risk_override": row.risk_override,
        "held": row.held,
    }


def _faults(error: ValidationError) -> dict[str, str]:
    found = error.message_dict if hasattr(error, "error_dict") else {"upstream": error.messages}
    return {name: " ".join(texts) for name, texts in found.items()}
