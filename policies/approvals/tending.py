"""What is due about held calls: mail and webhooks to those who answer, the end of what nobody answered, old rows.

Safe to run twice and anywhere: each row is claimed by one `UPDATE` before anything is sent.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import httpx
import structlog
from django.conf import settings

from mcphub.core import http, mail
from mcphub.core.clock import now
from mcphub.core.keyring import KeyringError
from mcphub.core.netguard import EgressBlocked
from policies.approvals.answering import State
from policies.approvals.models import ApprovalSettings, CallApproval
from policies.approvals.selectors import approvers, link_of

KEPT: Final = timedelta(days=30)
AT_ONCE: Final = 50
HOOK_S: Final = 10
HOOK_TRIES: Final = 6
PREFIX: Final = "whsec_"
KEY_BYTES: Final = 32

log = structlog.get_logger(__name__)


def tend() -> None:
    """Everything that is due."""
    _expire()
    if mail.is_on():
        for row in _due(mailed_at=None):
            _mail(row)
    for row in _due(hook_due_at__lte=now()):
        _call_hook(row)
    CallApproval.objects.filter(asked_at__lt=now() - KEPT).exclude(state=State.WAITING).delete()


def _due(**where: Any) -> list[CallApproval]:
    rows = CallApproval.objects.filter(state=State.WAITING, ends_at__gt=now(), **where)
    return list(rows.select_related("org").order_by("asked_at")[:AT_ONCE])


def _expire() -> None:
    """What ran out says so; a row that nobody looks at again would seem to wait for ever."""
    open_ones = CallApproval.objects.filter(state__in=(State.WAITING, State.APPROVED), ends_at__lte=now())
    open_ones.update(state=State.EXPIRED)


def _mail(row: CallApproval) -> None:
    if not CallApproval.objects.filter(pk=row.pk, mailed_at=None).update(mailed_at=now()):
        return
    facts = {**_facts(row), "org": row.org.name}
    sent = [mail.send("approval", address, facts) for address in approvers(row)]
    if sent and all(each is mail.Sent.FAILED for each in sent):
        CallApproval.objects.filter(pk=row.pk).update(mailed_at=None)


def _facts(row: CallApproval) -> dict[str, str]:
    """What leaves the hub of a held call: never an argument."""
    return {
        "id": str(row.pk),
        "principal": row.principal,
        "application": row.application,
        "upstream": row.upstream,
        "name": row.name,
        "risk": row.risk,
        "reason": row.reason,
        "link": link_of(row.org.slug, str(row.pk)),
        "ends_at": row.ends_at.strftime("%Y-%m-%d %H:%M UTC"),
    }


def _call_hook(row: CallApproval) -> None:
    """Tell the org's webhook; what it does not take is tried again, later each time."""
    tries = row.hook_tries + 1
    again = now() + timedelta(seconds=5 * 4**row.hook_tries) if tries < HOOK_TRIES else None
    mine = CallApproval.objects.filter(pk=row.pk, hook_tries=row.hook_tries, hook_due_at=row.hook_due_at)
    if not mine.update(hook_tries=tries, hook_due_at=again):
        return
    where = ApprovalSettings.objects.filter(org=row.org).exclude(webhook_url="").first()
    if where is None or post(where, "approval.asked", str(row.pk), _facts(row)) == "":
        CallApproval.objects.filter(pk=row.pk).update(hook_due_at=None)


def post(where: ApprovalSettings, kind: str, id: str, facts: Mapping[str, str]) -> str:
    """Send one event (Standard Webhooks: headers webhook-id, -timestamp, -signature). What went wrong, or ""."""
    moment = int(time.time())
    body = json.dumps({"type": kind, "timestamp": moment, "org": where.org.slug, "data": dict(facts)}).encode()
    try:
        headers = {
            "Content-Type": "application/json",
            "webhook-id": f"{kind}.{id}",
            "webhook-timestamp": str(moment),
            "webhook-signature": signature(where.webhook_secret or "", f"{kind}.{id}", moment, body),
        }
        with http.blocking_client(settings.HUB.egress_allow, HOOK_S) as client:
            answer = client.post(where.webhook_url, content=body, headers=headers)
        fault = "" if answer.is_success else f"HTTP {answer.status_code}"
    except (httpx.HTTPError, EgressBlocked, http.RedirectedElsewhere, KeyringError) as error:
        fault = type(error).__name__
    if fault:
        log.warning("webhook_not_taken", org=where.org.slug, error=fault)
    return fault


def new_secret() -> str:
    """A key for signing, as text."""
    return PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def signature(secret: str, id: str, moment: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over id, time and body (Standard Webhooks, symmetric signatures)."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = secret.encode()
    made = hmac.digest(key, f"{id}.{moment}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(made).decode()}"
