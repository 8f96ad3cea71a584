"""Which credentials are to be refreshed ahead of time, and whether somebody does it."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Q

from mcphub.core.clock import now
from mcphub.core.keyring import KeyringError
from upstreams.credentials.models import Credential
from upstreams.models import Lease

CLIENT_CREDENTIALS: Final = "client_credentials"
EVERY_S: Final = 600
MARK: Final = "sweep/credentials"
"""The lease that says that a sweep has run: it is good for two and a half periods."""

State = Credential.State


def can_be_renewed(row: Credential) -> bool:
    """Whether the row holds what a refresh takes. Raises `KeyringError`."""
    secret = row.secret or {}
    return bool(secret.get("token_endpoint") and (secret.get("refresh_token") or for_itself(secret)))


def for_itself(secret: dict[str, Any]) -> bool:
    """Whether the hub got the access for itself, without a person."""
    return bool(secret.get("grant") == CLIENT_CREDENTIALS)


def due(moment: datetime) -> list[tuple[str, int]]:
    """(id, version) of what ends within the margin or is too old, and can be renewed."""
    limits = settings.HUB.limits
    soon = Q(expires_at__lt=moment + timedelta(seconds=limits.renew_margin_s))
    old = Q(obtained_at__lt=moment - timedelta(seconds=limits.renew_age_s))
    rows = Credential.objects.filter(soon | old, state__in=(State.CONNECTED, State.EXPIRED, State.FAILING))
    found = rows.exclude(issuer="").select_related("upstream")
    return [(str(row.pk), row.version) for row in found if _renewable(row)]


def _renewable(row: Credential) -> bool:
    try:
        return can_be_renewed(row)
    except KeyringError:
        return False


def swept() -> None:
    """Note that a sweep has run."""
    until = now() + timedelta(seconds=2.5 * EVERY_S)
    Lease.objects.update_or_create(key=MARK, defaults={"worker": "celery", "until": until})


def has_run() -> bool:
    """Whether a sweep has run within two and a half periods."""
    return Lease.objects.filter(key=MARK, until__gt=now()).exists()


def overdue() -> int:
    """How many accounts end without a sweep having run; 0 while sweeps run."""
    return 0 if has_run() else len(due(now()))
