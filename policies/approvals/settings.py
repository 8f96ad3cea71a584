"""How an org goes about approvals, as admin and API change it."""

from django.db import transaction

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org
from policies.approvals.models import ApprovalSettings
from policies.approvals.tending import new_secret


@transaction.atomic
def put_settings(org: Org, own_calls: bool, webhook_url: str, *, by: Actor) -> str:
    """Change them. A new webhook gets a secret, which is returned this once. Raises Django's `ValidationError`."""
    found = ApprovalSettings.objects.filter(org=org).select_for_update().first()
    row = found or ApprovalSettings(org=org)
    before = acts.facts(row) if found else {}
    row.own_calls = own_calls
    secret = give_secret(row, webhook_url) if row.webhook_url != webhook_url else ""
    row.full_clean(validate_unique=False, exclude=("webhook_secret",))
    old, new = acts.changed(before, acts.facts(row))
    if old or new:
        row.save()
        verb = "change" if found else "create"
        acts.record(by, org, f"approvalsettings.{verb}", str(row), old, new)
    return secret


def give_secret(row: ApprovalSettings, webhook_url: str) -> str:
    """Another address, and the secret that goes with it; "" without one. Does not save."""
    secret = new_secret() if webhook_url else ""
    row.webhook_url, row.webhook_secret = webhook_url, secret or None
    return secret
