"""Mail that the hub sends."""

import smtplib
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string

log = structlog.get_logger(__name__)

SUBJECT: Final = "Subject: "


class Sent(Enum):
    """What became of a mail."""

    YES = "sent"
    OFF = "off"
    """No mail server is configured."""
    FAILED = "failed"
    """The server could not be reached, or did not take it; the cause is in the log."""


def is_on() -> bool:
    """Whether a mail server is configured."""
    return bool(settings.HUB.email_url)


def send(template: str, to: str, context: Mapping[str, Any]) -> Sent:
    """Send the text of `templates/mail/<template>.txt`, whose first line is `Subject: …`, to one address.

    Blocks for at most `mail_s` a step; never raises for what the mail server does. Texts of `context` are put on one
    line each. Call it after the commit of what it tells of.
    """
    if not is_on():
        return Sent.OFF
    values = {name: " ".join(value.split()) if isinstance(value, str) else value for name, value in context.items()}
    head, _, body = render_to_string(f"mail/{template}.txt", values).strip().partition("\n")
    subject = head.removeprefix(SUBJECT)
    try:
        EmailMessage(subject, f"{body.strip()}\n", to=[to], connection=get_connection()).send()
    except (OSError, smtplib.SMTPException) as fault:
        log.warning("mail_not_sent", template=template, error=type(fault).__name__, answer=_answer(fault))
        return Sent.FAILED
    return Sent.YES


def _answer(fault: Exception) -> str:
    """The server's own words, cut; they hold no secret of ours."""
    code = getattr(fault, "smtp_code", "")
    return f"{code} {getattr(fault, 'smtp_error', b'')!r}"[:200] if code else str(fault)[:200]
