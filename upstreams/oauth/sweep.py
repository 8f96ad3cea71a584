"""Every ten minutes: what ends soon, or is old, is refreshed before anybody needs it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db.models import Q

from mcphub.core.clock import now
from mcphub.core.keyring import KeyringError
from upstreams.credentials.models import Credential
from upstreams.errors import UpstreamError
from upstreams.models import Lease
from upstreams.oauth.renewal import can_be_renewed, renew

EVERY_S: Final = 600
AT_ONCE: Final = 8
MARK: Final = "sweep/credentials"
"""The lease that says that a sweep has run: it is good for two and a half periods."""

State = Credential.State

log = structlog.get_logger(__name__)


def sweep() -> int:
    """Refresh what is due; how much that was. Safe to run twice: each row is refreshed once."""
    found = list(due(now()))
    asyncio.run(_refresh(found))
    Lease.objects.update_or_create(
        key=MARK, defaults={"worker": "celery", "until": now() + timedelta(seconds=2.5 * EVERY_S)}
    )
    return len(found)


def due(moment: datetime) -> list[tuple[str, int]]:
    """(id, version) of what ends within the margin or is too old, and can be renewed."""
    limits = settings.HUB.limits
    soon = Q(expires_at__lt=moment + timedelta(seconds=limits.renew_margin_s))
    old = Q(obtained_at__lt=moment - timedelta(seconds=limits.renew_age_s))
    rows = Credential.objects.filter(soon | old, state__in=(State.CONNECTED, State.EXPIRED, State.FAILING))
    return [
        (str(row.pk), row.version) for row in rows.exclude(issuer="").select_related("upstream") if _renewable(row)
    ]


def _renewable(row: Credential) -> bool:
    try:
        return can_be_renewed(row)
    except KeyringError:
        return False


async def _refresh(found: Sequence[tuple[str, int]]) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(credential_id: str, version: int) -> None:
        async with room:
            try:
                await renew(credential_id, version)
            except UpstreamError as fault:
                log.info("sweep_left", credential=credential_id, why=fault.text)

    await asyncio.gather(*(one(*each) for each in found))


def has_run() -> bool:
    """Whether a sweep has run within two and a half periods."""
    return Lease.objects.filter(key=MARK, until__gt=now()).exists()


def overdue() -> int:
    """How many accounts end without a sweep having run; 0 while sweeps run."""
    return 0 if has_run() else len(due(now()))
