"""Refreshing a credential: once, whoever wants it, over all processes.

Who refreshes writes a lease into the row, in a short transaction with the row locked, and gives it back with the new
tokens or with the failure; no transaction is open while the authorization server is asked. Others wait for the row to
change. A lease that ran out belongs to a process that died: the next one presents the same refresh token, and if the
server has spent it meanwhile, it says so and the credential is purged.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from django.db import transaction

from mcphub.core import aio, clock
from mcphub.core.clock import now
from mcphub.core.keyring import KeyringError
from upstreams.credentials import services
from upstreams.credentials.models import Credential
from upstreams.errors import Unreachable
from upstreams.oauth import token_endpoint
from upstreams.oauth.clients import as_it_is_now, forget_registration, unpacked
from upstreams.oauth.discovery import read_server
from upstreams.oauth.due import can_be_renewed, for_itself
from upstreams.oauth.errors import ClientRejected, OAuthFault, Refused, Revoked
from upstreams.oauth.outgoing import Outgoing, outgoing
from upstreams.oauth.types import Client, Tokens

LOOK_S: Final = 0.1
LEEWAY: Final = timedelta(seconds=60)
"""A token that ends sooner is not sent any more: clocks differ."""

REST_MOST_S: Final = 60
State = Credential.State
TRY_LATER: Final = "The upstream's authorization server does not renew the hub's access just now."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A refresh that this flight has taken on."""

    id: str
    flight: str
    allow: Sequence[str]
    issuer: str
    resource: str
    scopes: tuple[str, ...]
    client: Client = field(repr=False)
    secret: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing is left to do: the row is another than the one that was not good enough, or holds nothing any more."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Another flight is at it."""


@dataclass(frozen=True, slots=True)
class Resting:
    """It failed a moment ago; the authorization server is left alone until `until`."""

    until: datetime


_flights: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Unreachable | None]]] = (
    WeakKeyDictionary()
)


async def renew(credential_id: str, version: int) -> None:
    """Have something newer than `version` in the row, or the reason why there is nothing (`seams.Renew`).

    Raises `Unreachable` while the authorization server cannot be used.
    """
    flights = _flights.setdefault(asyncio.get_running_loop(), {})
    flight = flights.get(credential_id)
    if flight is None:
        flight = flights[credential_id] = aio.spawn(_renew(credential_id, version), name="renew-credential")
        flight.add_done_callback(lambda _: flights.pop(credential_id, None))
    fault = await asyncio.shield(flight)
    if fault is not None:
        raise fault


async def _renew(credential_id: str, version: int) -> Unreachable | None:
    """The trouble is given back, not raised: who waits raises it, and the task has not failed."""
    patience = clock.monotonic() + settings.HUB.limits.renew_wait_s
    while True:
        found = await aio.in_thread(claim, credential_id, version)
        if isinstance(found, Job):
            return await _fly(found)
        if isinstance(found, Settled):
            return None
        if isinstance(found, Resting) or clock.monotonic() > patience:
            return Unreachable(TRY_LATER)
        await asyncio.sleep(LOOK_S)


@transaction.atomic
def claim(credential_id: str, version: int) -> Job | Settled | Busy | Resting:
    """Take on the refresh of a row whose `version` is not good enough, if nobody else is at it."""
    rows = Credential.objects.select_for_update(of=("self",)).select_related("upstream", "registration")
    row = rows.filter(pk=credential_id).first()
    if row is None or row.secret is None or (row.version != version and not row.failures):
        return Settled()
    moment = now()
    if row.renewing_until is not None and row.renewing_until > moment:
        return Busy() if row.renewing_by else _resting(row, moment)
    try:
        job = _job(row)
    except (KeyringError, Refused) as fault:
        services.purge(row.pk, str(fault))
        return Settled()
    if job is None:
        services.purge(row.pk, "Its access has ended, and it came without anything to renew it with.")
        return Settled()
    Credential.objects.filter(pk=row.pk).update(
        renewing_by=job.flight, renewing_until=moment + timedelta(seconds=settings.HUB.limits.renew_lease_s)
    )
    return job


def _resting(row: Credential, moment: datetime) -> Settled | Resting:
    assert row.renewing_until is not None
    usable = row.expires_at is not None and row.expires_at > moment + LEEWAY
    return Settled() if usable else Resting(row.renewing_until)


def _job(row: Credential) -> Job | None:
    """What it takes to refresh a row; None when nothing can. Raises `Refused`."""
    if not can_be_renewed(row):
        return None
    secret = row.secret
    client = as_it_is_now(row.upstream, unpacked(secret["client"]), row.registration)
    return Job(
        id=str(row.pk),
        flight=secrets.token_hex(16),
        allow=tuple(row.upstream.egress_allow),
        issuer=row.issuer,
        resource=row.resource,
        scopes=tuple(row.scopes),
        client=client,
        secret=dict(secret),
    )


async def _fly(job: Job) -> Unreachable | None:
    try:
        async with outgoing(job.allow) as out:
            endpoint, tokens = await _new_tokens(out, job)
    except OAuthFault as fault:
        log.warning("credential_not_renewed", credential=job.id, why=fault.text)
        usable = await aio.in_thread(failed, job, fault)
        return None if usable else Unreachable(TRY_LATER)
    await aio.in_thread(keep, job, tokens, endpoint)
    return None


async def _new_tokens(out: Outgoing, job: Job) -> tuple[str, Tokens]:
    """From the endpoint that is known; when that is gone, from the one that the same issuer names now."""
    endpoint = str(job.secret["token_endpoint"])
    try:
        return endpoint, await _ask(out, job, endpoint)
    except token_endpoint.Gone:
        moved = (await read_server(out, job.issuer, endpoint)).token_endpoint
        if moved == endpoint:
            raise
        return moved, await _ask(out, job, moved)


async def _ask(out: Outgoing, job: Job, endpoint: str) -> Tokens:
    if for_itself(job.secret):
        scope = " ".join(job.scopes)
        return await token_endpoint.client_credentials(out, endpoint, job.client, scope=scope, resource=job.resource)
    token = str(job.secret["refresh_token"])
    return await token_endpoint.refresh(out, endpoint, job.client, token=token, resource=job.resource)


@transaction.atomic
def keep(job: Job, tokens: Tokens, endpoint: str) -> bool:
    """Store the new tokens; false when the row is another flight's or person's by now."""
    row = _own(job)
    if row is None:
        return False
    row.secret = {
        **job.secret,
        "access_token": tokens.access,
        "refresh_token": tokens.refresh or job.secret.get("refresh_token", ""),
        "token_endpoint": endpoint,
    }
    row.state, row.problem = State.CONNECTED, ""
    row.expires_at, row.obtained_at = tokens.expires_at, now()
    row.scopes = tokens.scope.split() or row.scopes
    row.failures, row.failing_since, row.notified_at = 0, None, None
    row.renewing_by, row.renewing_until = "", None
    row.save()
    return True


@transaction.atomic
def failed(job: Job, fault: OAuthFault) -> bool:
    """Write a failure into the row that it is about. Whether that row can be used all the same, or needs a person."""
    row = _own(job)
    if row is None:
        return True
    moment = now()
    row.failures += 1
    row.failing_since = row.failing_since or moment
    if isinstance(fault, ClientRejected) and job.client.source == "registered":
        forget_registration(row.upstream, row.issuer, job.client.id)
    if _is_final(row, job, fault, moment):
        services.purge(row.pk, _why(fault))
        Credential.objects.filter(pk=row.pk).update(renewing_by="", renewing_until=None)
        return True
    rest = min(REST_MOST_S, 2**row.failures)
    Credential.objects.filter(pk=row.pk).update(
        failures=row.failures,
        failing_since=row.failing_since,
        renewing_by="",
        renewing_until=moment + timedelta(seconds=rest),
    )
    if row.state == State.CONNECTED:
        Credential.objects.filter(pk=row.pk).update(state=State.FAILING, problem=_why(fault))
    return row.expires_at is not None and row.expires_at > moment + LEEWAY


def _is_final(row: Credential, job: Job, fault: OAuthFault, moment: datetime) -> bool:
    """Revoked: at once. What may pass, a client that an operator can mend among it: when it lasts."""
    if isinstance(fault, Revoked) or (isinstance(fault, ClientRejected) and job.client.source == "registered"):
        return not for_itself(job.secret)
    limits = settings.HUB.limits
    assert row.failing_since is not None
    lasting = moment - row.failing_since >= timedelta(seconds=limits.renew_failing_s)
    return row.failures >= limits.renew_failures and lasting


def _why(fault: OAuthFault) -> str:
    if isinstance(fault, Revoked):
        return "Its authorization server takes the hub's access as revoked. Connect again."
    return fault.text[: services.PROBLEM_CHARS]


def _own(job: Job) -> Credential | None:
    """The row, locked, if it is still this flight's and nobody has connected anew meanwhile."""
    rows = Credential.objects.select_for_update(of=("self",)).select_related("upstream__org")
    return rows.filter(pk=job.id, renewing_by=job.flight).first()
