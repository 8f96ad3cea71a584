"""Forgotten passwords: whoever reads the mail of an address gets a link with which its person sets a new one.

The page answers the same, and takes as long, whether or not the address is somebody's: it only stores a wish, and the
worker looks whose it is and sends the mail.
"""

from datetime import timedelta
from typing import Final

from django.conf import settings

from mcphub.accounts import acts, throttle
from mcphub.accounts.links import password_link
from mcphub.accounts.models import PasswordWish, User, normal_email
from mcphub.core import mail
from mcphub.core.clock import now

AT_ONCE: Final = 50
KEPT: Final = timedelta(hours=1)
"""What no worker has done by then is given up: nobody waits for it any more."""


def offered() -> bool:
    """Whether there are passwords here, and mail to send links with."""
    return "password" in settings.HUB.sign_in and mail.is_on()


def wish(email: str, source: str) -> None:
    """Ask for a link. Raises `throttle.Throttled`: counted as a failure to sign in, by source and address."""
    throttle.begin(source, email)
    PasswordWish.objects.create(email=normal_email(email)[:254], source=source[:64], at=now())


def send_due() -> int:
    """Mail a link to everybody who asked for one and has an account; how many. Safe to run twice."""
    PasswordWish.objects.filter(at__lt=now() - KEPT).delete()
    due = list(PasswordWish.objects.order_by("at")[:AT_ONCE])
    return sum(_send(row) for row in due if PasswordWish.objects.filter(pk=row.pk).delete()[0])


def _send(row: PasswordWish) -> bool:
    user: User | None = User.objects.filter(email=row.email, is_active=True).first()
    if user is None:
        return False
    minutes = int(settings.HUB.limits.link_s // 60)
    facts = {"email": user.email, "link": password_link(user, mailed=True), "minutes": minutes, "source": row.source}
    sent = mail.send("new_password", user.email, facts) is mail.Sent.YES
    if sent:
        acts.record(acts.Actor("password page", source=row.source), None, "user.mail_password_link", user.email)
    return sent
