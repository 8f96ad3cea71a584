"""Mail to those whose account has to be connected again: once for each failure, with a sealed link."""

import uuid
from typing import Final

from mcphub.accounts.models import User
from mcphub.core import mail
from mcphub.core.clock import now
from upstreams.credentials.links import connect_link
from upstreams.credentials.models import SHARED, Credential

LINK_S: Final = 14 * 24 * 3600
AT_ONCE: Final = 50
PERSON: Final = "user:"


def send_due() -> int:
    """Mail everybody who was not told yet; how many mails went out. Nothing when no mail server is set."""
    if not mail.is_on():
        return 0
    waiting = Credential.objects.filter(state=Credential.State.NEEDS_CONNECTION, notified_at=None)
    return sum(_send(pk) for pk in list(waiting.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]))


def _send(pk: uuid.UUID) -> bool:
    """Claim the notice, then send it; what the server does not take is tried at the next run."""
    rows = Credential.objects.filter(pk=pk, state=Credential.State.NEEDS_CONNECTION)
    if not rows.filter(notified_at=None).update(notified_at=now()):
        return False
    row = rows.select_related("upstream__org").first()
    to = None if row is None else _recipient(row)
    if row is None or to is None:
        return False
    sent = mail.send(
        "connect_again",
        to,
        {
            "upstream": row.upstream.name or row.upstream.slug,
            "org": row.upstream.org.name,
            "problem": row.problem,
            "shared": row.holder == SHARED,
            "link": connect_link(str(row.upstream_id), row.holder, valid_s=LINK_S),
        },
    )
    if sent is mail.Sent.FAILED:
        rows.update(notified_at=None)
    return sent is mail.Sent.YES


def _recipient(row: Credential) -> str | None:
    """The holder's address; of the shared slot that of who connected it, while they are a member."""
    people = User.objects.filter(is_active=True, memberships__org_id=row.upstream.org_id)
    if row.holder == SHARED:
        people = people.filter(email=row.connected_by)
    else:
        people = people.filter(pk=row.holder.removeprefix(PERSON)) if row.holder.startswith(PERSON) else people.none()
    found = people.first()
    return found.email if found is not None else None
