"""Putting credentials where they belong, and taking them away: one transaction each, on record, never with a secret.

Everything blocks on the database. The caller has checked that the actor may do it for this holder.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.core.clock import now
from upstreams.catalogue import forget_holder
from upstreams.credentials import seams
from upstreams.credentials.models import SHARED, Credential
from upstreams.credentials.presented import place_of
from upstreams.models import Upstream
from upstreams.selectors import spec_of

USED_EVERY: Final = timedelta(minutes=1)
PROBLEM_CHARS: Final = 300
HUB: Final = Actor("hub")


class Occupied(Exception):
    """The shared slot is somebody's already; taking it over has to be said. `by` is who connected it."""

    def __init__(self, by: str) -> None:
        super().__init__(f"connected by {by}")
        self.by = by


@transaction.atomic
def store(
    upstream: Upstream,
    holder: str,
    secret: Mapping[str, Any],
    *,
    by: Actor,
    take_over: bool = False,
    account: str = "",
    issuer: str = "",
    resource: str = "",
    scopes: list[str] | None = None,
    expires_at: datetime | None = None,
    registration: Any = None,
) -> Credential:
    """A person connected: keep this, in place of what was there. The credential as it is now.

    Raises `Occupied` when the shared slot holds what somebody else connected, unless `take_over` is said, and
    `selectors.Unusable` when the upstream is not usable as it is configured.
    """
    rows = Credential.objects.select_for_update()
    row = rows.filter(upstream=upstream, holder=holder).first()
    occupied = row is not None and row.secret is not None and holder == SHARED and row.connected_by != by.label
    if row is not None and occupied and not take_over:
        raise Occupied(row.connected_by)
    before = facts_of(row) if row is not None else None
    row = row or Credential(upstream=upstream, holder=holder)
    row.place = place_of(spec_of(upstream))
    moment = now()
    row.secret = dict(secret)
    row.state, row.problem = Credential.State.CONNECTED, ""
    row.connected_at, row.connected_by, row.account = moment, by.label, account[:200]
    row.issuer, row.resource, row.scopes, row.registration = issuer, resource, scopes or [], registration
    row.expires_at, row.obtained_at = expires_at, moment
    row.failures, row.failing_since, row.notified_at, row.listed_at = 0, None, None, None
    row.renewing_by, row.renewing_until = "", None
    row.save()
    _record(by, row, "take_over" if occupied else "connect", before, facts_of(row))
    return row


@transaction.atomic
def disconnect(row: Credential, *, by: Actor) -> None:
    """Forget a credential, and what its holder was listed with it."""
    if seams.oauth.revoke is not None:
        seams.oauth.revoke(row)
    _record(by, row, "disconnect", facts_of(row), None)
    _forget(row)


@transaction.atomic
def purge(credential_id: Any, problem: str, *, version: int | None = None) -> bool:
    """Drop a secret that is worth nothing any more and say so to its holder; false when the row is another by now.

    `version` names the row that was looked at: a failure touches only what it was about.
    """
    row = Credential.objects.select_for_update().filter(pk=credential_id).first()
    if row is None or (version is not None and row.version != version):
        return False
    before = facts_of(row)
    row.secret = None
    row.state, row.problem = Credential.State.NEEDS_CONNECTION, problem[:PROBLEM_CHARS]
    row.expires_at = None
    row.save()
    _record(HUB, row, "purge", before, facts_of(row))
    return True


def doubt(credential_id: Any, version: int, problem: str) -> None:
    """The upstream did not take a credential that is kept all the same."""
    rows = Credential.objects.filter(pk=credential_id, version=version, state=Credential.State.CONNECTED)
    rows.update(state=Credential.State.FAILING, problem=problem[:PROBLEM_CHARS])


def trust(credential_id: Any, version: int) -> None:
    """The upstream takes it again."""
    rows = Credential.objects.filter(pk=credential_id, version=version, state=Credential.State.FAILING)
    rows.update(state=Credential.State.CONNECTED, problem="")


def end_member(org_id: str, user_id: str) -> None:
    """Forget everything of a person in an org: their membership has ended."""
    _end_holder(org_id, f"user:{user_id}")


def end_service_key(org_id: str, key_id: str) -> None:
    """Forget everything of a service key: it was revoked."""
    _end_holder(org_id, f"key:{key_id}")


def _end_holder(org_id: str, holder: str) -> None:
    rows = Credential.objects.for_org(org_id).filter(holder=holder).select_related("upstream__org")
    for row in rows.select_for_update(of=("self",)):
        disconnect(row, by=HUB)


def touch(credential_id: Any) -> None:
    """Note a use; at most one write a minute."""
    moment = now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=moment - USED_EVERY)
    Credential.objects.filter(stale, pk=credential_id).update(last_used_at=moment)


def facts_of(row: Credential) -> dict[str, Any]:
    """What the record says of a credential: nothing of its secret."""
    return {
        "state": row.state,
        "account": row.account,
        "connected_by": row.connected_by,
        "issuer": row.issuer,
        "scopes": list(row.scopes),
    }


def _forget(row: Credential) -> None:
    upstream_id, holder = row.upstream_id, row.holder
    row.delete()
    if holder:
        forget_holder(holder, upstream_id)


def _record(by: Actor, row: Credential, verb: str, before: Any, after: Any) -> None:
    target = f"{row.upstream.slug}/{row.holder or 'shared'}"
    acts.record(by, row.upstream.org, f"credential.{verb}", target, before, after)
