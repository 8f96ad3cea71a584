"""How often somebody may fail to sign in: `sign_in_attempts` in `sign_in_window_s`, per source and per e-mail.

An attempt is counted before it is judged, so that many at once gain nothing, and struck out when it succeeds.
The count lies in the database: it holds over processes and restarts, and nobody's typed text is kept.
"""

import math
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import Count, Min

from mcphub.accounts.models import SignInFailure, normal_email
from mcphub.core.clock import now
from mcphub.core.keyring import keyring
from mcphub.core.peer import neighbourhood

PURPOSE: Final = "sign-in-throttle"


class Throttled(Exception):
    """Too many failures: `retry_after` seconds until the next attempt is judged."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many attempts, try again in {retry_after} s")
        self.retry_after = retry_after


def begin(source: str, email: str) -> list[int]:
    """Count an attempt; give the marks to `succeed` if it proves right. Raises `Throttled`."""
    limits = settings.HUB.limits
    at = now()
    window = timedelta(seconds=limits.sign_in_window_s)
    SignInFailure.objects.filter(at__lt=at - window).delete()
    subjects = (_subject("source", neighbourhood(source)), _subject("email", normal_email(email)))
    marks = [SignInFailure.objects.create(subject=subject, at=at).pk for subject in subjects]
    counts = SignInFailure.objects.filter(subject__in=subjects, at__gte=at - window)
    full = [
        item["oldest"]
        for item in counts.values("subject").annotate(failures=Count("pk"), oldest=Min("at"))
        if item["failures"] > limits.sign_in_attempts
    ]
    if full:
        succeed(marks)
        raise Throttled(max(1, math.ceil((max(full) + window - at).total_seconds())))
    return marks


def succeed(marks: list[int]) -> None:
    """Strike out an attempt."""
    SignInFailure.objects.filter(pk__in=marks).delete()


def _subject(kind: str, text: str) -> str:
    return keyring().mac(PURPOSE, f"{kind}:{text}".encode()).hex()
