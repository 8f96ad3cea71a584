"""What the rest of the hub asks of the record, besides `audit.writer` on the call path."""

from collections.abc import Mapping
from typing import Any

import msgspec

from audit import journal
from audit.events import Event, Kind, PayloadMode
from mcphub.core.clock import epoch_us
from mcphub.core.principal import Principal


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
