"""Calls that a rule asks a person about, and what people said to them."""

from typing import Any, ClassVar

from django.core.validators import URLValidator
from django.db import models

from mcphub.accounts.models import Org
from mcphub.core.fields import EncryptedJSONField, EncryptedTextField
from mcphub.core.ids import new_uuid


class CallApprovalQuerySet(models.QuerySet["CallApproval"]):
    """Held calls by org."""

    def for_org(self, org: Any) -> "CallApprovalQuerySet":
        """Only rows of this org (an `Org`, an `OrgRef` or an id)."""
        return self.filter(org_id=getattr(org, "id", org))


class CallApproval(models.Model):
    """One call that is held until somebody answers. Every change is one `UPDATE` from the state that it takes for
    granted, so that each answer counts once, whichever process gives it.

    | state | the call | ends by itself at `ends_at` as |
    |---|---|---|
    | waiting | is held | expired |
    | approved | may be made once; `lasting`: any of this principal to this tool under this rule | expired |
    | denied | is refused with `note`, without asking anybody again | denied, and the next one is asked about anew |
    | used | was made | – |
    | expired | was not answered, or not made in time | – |
    | revoked | may not be made any more | – |

    `digest` (hex) is of the principal, the target and the effective arguments; `person` is the user behind the
    principal, who does not answer; `rounds` counts how often the call went on after a wait in its middle.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        APPROVED = "approved", "approved"
        DENIED = "denied", "denied"
        USED = "used", "used"
        EXPIRED = "expired", "expired"
        REVOKED = "revoked", "revoked"

    org_path: ClassVar[str] = "org"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="call_approvals")
    call_id = models.CharField(max_length=64)
    principal_id = models.CharField(max_length=120)
    principal = models.CharField(max_length=320)
    person = models.UUIDField(null=True)
    application = models.CharField(max_length=200, blank=True)
    method = models.CharField(max_length=40)
    kind = models.CharField(max_length=10)
    upstream_id = models.CharField(max_length=40)
    upstream = models.CharField(max_length=32)
    name = models.TextField()
    risk = models.CharField(max_length=12)
    rule = models.CharField(max_length=40)
    reason = models.CharField(max_length=300, blank=True)
    digest = models.CharField(max_length=64)
    arguments = EncryptedJSONField(null=True)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    lasting = models.BooleanField(default=False)
    asked_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    answered_by = models.CharField(max_length=320, blank=True)
    note = models.CharField(max_length=300, blank=True)
    used_at = models.DateTimeField(null=True)
    rounds = models.PositiveIntegerField(default=0)
    mailed_at = models.DateTimeField(null=True)
    hook_tries = models.PositiveSmallIntegerField(default=0)
    hook_due_at = models.DateTimeField(null=True)

    objects = CallApprovalQuerySet.as_manager()

    class Meta:
        ordering = ("-asked_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("org", "principal_id", "digest"),
                condition=models.Q(state="waiting"),
                name="one_waiting_approval_per_call",
            ),
        )
        indexes = (
            models.Index(fields=("org", "state", "-asked_at")),
            models.Index(fields=("state", "ends_at")),
            models.Index(fields=("org", "principal_id", "digest")),
        )

    def __str__(self) -> str:
        return f"{self.upstream}/{self.name} by {self.principal}"


class ApprovalSettings(models.Model):
    """How one org goes about approvals; without a row, as the defaults say.

    `webhook_secret` is text as `whsec_…` (Standard Webhooks): base64 of the key that bodies are signed with.
    """

    org_path: ClassVar[str] = "org"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.OneToOneField(Org, on_delete=models.CASCADE, related_name="approval_settings")
    own_calls = models.BooleanField(
        "people may approve their own calls",
        default=False,
        help_text="In the browser only: what a client can do with a key, an approval must not hang on.",
    )
    webhook_url = models.CharField(
        "webhook", max_length=500, blank=True, validators=[URLValidator(schemes=["https", "http"])]
    )
    webhook_secret = EncryptedTextField(null=True)

    class Meta:
        verbose_name_plural = "approval settings"

    def __str__(self) -> str:
        return f"Approvals in {self.org}"
