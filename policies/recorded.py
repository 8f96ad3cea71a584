"""Calls on record as policy sees them: what they were to, by whom, and with which arguments, as far as kept."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from audit import selectors as audit
from audit.events import Kind as EventKind
from audit.events import PayloadMode
from audit.models import AuditEvent
from audit.redaction import MARK
from mcphub.accounts.models import Org, User
from mcphub.accounts.roles import Right
from mcphub.accounts.selectors import recorded_principal, rights_by_org
from policies.explaining import Explanation, explain_subject, recorded_subject
from policies.types import Kind

KIND_OF: Final[Mapping[str, Kind]] = {
    "tools/call": "tool",
    "tasks/get": "tool",
    "tasks/update": "tool",
    "tasks/cancel": "tool",
    "prompts/get": "prompt",
    "resources/read": "resource",
}
"""Method → what it calls. A completion is to a prompt or to a template, which the record does not tell apart."""

CUT: Final = frozenset({"truncated", "bytes", "start"})
DECIDED: Final = (EventKind.DENIED, EventKind.ASKED, EventKind.INTENT, EventKind.RESUMED)


@dataclass(frozen=True, slots=True)
class Story:
    """One call for somebody who may know of it. `decided` is the event of the last decision, `ended` the outcome's.

    `now` is the decision as policy and principal are today, None where one of them is gone; `complete` says whether
    the arguments are known exactly, so that `now` is about this very call. `may_see_rules`: policy is no secret here.
    """

    org: Org
    events: tuple[AuditEvent, ...]
    decided: AuditEvent
    ended: AuditEvent | None
    own: bool
    may_see_rules: bool
    arguments: str
    complete: bool
    now: Explanation | None


def exact_arguments(mode: str, digest: bytes, body: bytes | None) -> Mapping[str, Any] | None:
    """The arguments of a call on record, or None where they were not kept whole and unaltered.

    `digest` and `body` are those of the event's payload; an event without any digest carried no arguments.
    """
    if mode == PayloadMode.NONE:
        return None
    if not digest:
        return {}
    if body is None or MARK.encode() in body or b"[too deep]" in body:
        return None
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return None if not isinstance(found, dict) or found.keys() == CUT else found


def story_of(user: User, call_id: str) -> Story | None:
    """A call for its own caller, and for whoever reads the audit there; None for all others, as if there were none.

    A caller who reads no audit is told of what they may see: a tool that is hidden from them stays hidden.
    """
    rights = rights_by_org(user)
    events = [event for org_id in rights for event in audit.call(org_id, call_id)]
    decided = next((event for event in reversed(events) if event.kind in DECIDED), None)
    if decided is None:
        return None
    held = rights[decided.org_id]
    own = decided.principal_id == f"user:{user.pk}"
    if not own and Right.READ_AUDIT not in held:
        return None
    story = _story(events, decided, own=own, may_see_rules=Right.VIEW_CONFIG in held)
    told = Right.READ_AUDIT in held or decided.effect == "allow" or (story.now is not None and story.now.listed)
    return story if told else None


def _story(events: list[AuditEvent], decided: AuditEvent, *, own: bool, may_see_rules: bool) -> Story:
    org = Org.objects.get(pk=decided.org_id)
    first = next((event for event in events if event.payload_digest), decided)
    text = audit.payloads_of([first]).get(first.id)
    arguments = exact_arguments(first.payload_mode, bytes(first.payload_digest), (text and text.encode()) or None)
    return Story(
        org=org,
        events=tuple(events),
        decided=decided,
        ended=audit.outcome_of(events),
        own=own,
        may_see_rules=may_see_rules,
        arguments=text or "",
        complete=arguments is not None,
        now=_now(org, decided, arguments),
    )


def _now(org: Org, event: AuditEvent, arguments: Mapping[str, Any] | None) -> Explanation | None:
    kind = KIND_OF.get(event.method)
    subject = recorded_subject(org, kind, event.upstream, event.name) if kind else None
    principal = recorded_principal(org.pk, event.principal_id, event.credential, event.application)
    if subject is None or principal is None:
        return None
    return explain_subject(org, principal, subject, arguments)
