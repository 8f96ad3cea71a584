"""What the authorization server forgets: codes nobody took, tokens that ended, clients nobody let in."""

from datetime import datetime, timedelta
from typing import Any, Final

from celery import shared_task
from django.conf import settings
from django.db.models import QuerySet
from oauth2_provider.models import AccessToken, Grant, RefreshToken

from gateway.authserver import approvals
from gateway.authserver.models import Approval, RegistrationMark
from gateway.authserver.registration import forget_oldest
from mcphub.core.clock import now

CHUNK: Final = 500
CHUNKS: Final = 20
KEPT: Final = timedelta(days=30)
"""How long an approval that ended is kept, so that a late second use of its tokens is still told from a guess."""

UNUSED: Final = "not used for too long"


@shared_task(name="gateway.authserver.tidy")
def tidy() -> None:
    """Forget what is over, in short transactions; safe to run twice."""
    limits, at = settings.HUB.limits, now()
    untaken = Approval.objects.living().filter(redeemed_at=None, created_at__lt=at - timedelta(seconds=limits.code_s))
    untaken.delete()
    approvals.end(_lapsed(at)[:CHUNK], UNUSED)
    for rows in (
        Grant.objects.filter(expires__lt=at),
        Approval.objects.filter(ended_at__lt=at - KEPT),
        RefreshToken.objects.filter(revoked__lt=at - KEPT),
        AccessToken.objects.filter(expires__lt=at, refresh_token=None),
        RegistrationMark.objects.filter(at__lt=at - timedelta(seconds=limits.client_window_s)),
    ):
        _drop(rows)
    for _ in range(CHUNKS):
        if not forget_oldest(at - timedelta(seconds=limits.client_idle_s), CHUNK):
            break


def _lapsed(at: datetime) -> QuerySet[Approval]:
    """Approvals whose refresh token has lapsed."""
    before = at - timedelta(seconds=settings.HUB.limits.refresh_s)
    old = RefreshToken.objects.filter(revoked=None, access_token__expires__lt=before).values("token_family")
    lapsed: QuerySet[Approval] = approvals.living().filter(pk__in=old)
    return lapsed


def _drop(rows: "QuerySet[Any]") -> None:
    for _ in range(CHUNKS):
        ids = list(rows.values_list("pk", flat=True)[:CHUNK])
        if not ids:
            return
        rows.model.objects.filter(pk__in=ids).delete()
