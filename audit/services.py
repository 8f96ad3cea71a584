"""What the rest of the hub asks of the record, besides `audit.writer` on the call path."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings

from audit import journal
from audit.events import Event, Kind, PayloadMode
from audit.exporting import export
from audit.reconciling import close_open_intents
from audit.retention import erase, prune_events
from audit.selectors import Query
from audit.verification import ChainHead, VerifyReport, verify
from mcphub.core.clock import epoch_us, now
from mcphub.core.principal import Principal

__all__ = [
    "ChainHead",
    "Query",
    "VerifyReport",
    "erase_payloads",
    "export",
    "prune",
    "reconcile",
    "record_act",
    "record_sign_in",
    "verify",
]


def record_act(
    *,
    org_id: str,
    org: str,
    principal: Principal | str,
    action: str,
    target: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    source: str = "",
) -> None:
    """Record what an operator (or a command: give its name as `principal`) changed, in the current transaction.

    `action` is `<thing>.<verb>` (`api_key.revoke`), `target` the name of the thing; `before` and `after` hold
    the changed fields and are redacted.
    """
    change = {key: dict(value) for key, value in (("before", before), ("after", after)) if value is not None}
    event = Event(
        kind=Kind.ACT,
        at=epoch_us(),
        org_id=str(org_id),
        org=org,
        method=action,
        name=target,
        source=source,
        payload=msgspec.json.encode(change, enc_hook=str) if change else b"",
        payload_mode=PayloadMode.REDACTED,
    )
    journal.append(_by(principal, event))


def record_sign_in(
    *,
    principal: Principal | str,
    method: str,
    ok: bool,
    org_id: str = "",
    org: str = "",
    reason: str = "",
    source: str = "",
) -> None:
    """Record that somebody signed in or failed to.

    `method` is the way (`password`, `dev`, `google`), `reason` why it failed.
    """
    event = Event(
        kind=Kind.SIGN_IN,
        at=epoch_us(),
        org_id=str(org_id),
        org=org,
        method=method,
        effect="allow" if ok else "deny",
        reason=reason,
        source=source,
    )
    journal.append(_by(principal, event))


def _by(principal: Principal | str, event: Event) -> Event:
    if isinstance(principal, str):
        return msgspec.structs.replace(event, principal=principal)
    return msgspec.structs.replace(
        event,
        principal_id=principal.id,
        principal=principal.label,
        credential=principal.credential,
        application=principal.application,
    )


def reconcile() -> int:
    """Close intents that nobody will close with outcome `unknown`; returns how many. Safe to run twice."""
    return close_open_intents()


def prune(older_than: datetime | None = None, *, by: Principal | str = "retention") -> int:
    """Remove events before `older_than` (default: the retention setting), payloads too; returns how many.

    Leaves signed tombstones; what was removed is recorded as an act of `by`.
    """
    before = older_than or now() - timedelta(days=settings.HUB.audit_retention_days)
    removed = prune_events(before)
    if removed:
        after = {"events": removed, "before": before.isoformat()}
        record_act(org_id="", org="", principal=by, action="audit.prune", target="events", after=after)
    return removed


def erase_payloads(query: Query, *, by: Principal | str) -> int:
    """Erase what the events of `query` carried, for good; rows and chains stay valid. Returns how many.

    Recorded as an act of `by` in the org of the query.
    """
    erased = erase(query.events())
    after = {"payloads": erased, **{name: value for name, value in asdict(query).items() if value}}
    record_act(
        org_id=query.org_id or "", org=query.org, principal=by, action="audit.erase", target="payloads", after=after
    )
    return erased
