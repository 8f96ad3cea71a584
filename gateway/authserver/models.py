"""What people allowed which client, and how many clients came from where; the rest lies in django-oauth-toolkit."""

from django.conf import settings
from django.db import models

from mcphub.accounts.models import Org
from mcphub.core.ids import new_uuid


class ApprovalQuerySet(models.QuerySet["Approval"]):
    def living(self) -> "ApprovalQuerySet":
        """Those that nobody has ended."""
        return self.filter(ended_at=None)


class Approval(models.Model):
    """One person let one client in, at one endpoint, in one org or (`org` None) in all of theirs.

    Its id is the family of the refresh tokens that come of it. `code_digest` is the SHA-256 of the authorization
    code; `browser` a keyed hash of the cookie of the browser that approved.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="approvals", verbose_name="person"
    )
    application = models.ForeignKey(
        "oauth2_provider.Application", on_delete=models.CASCADE, related_name="approvals", verbose_name="client"
    )
    org = models.ForeignKey(Org, on_delete=models.CASCADE, null=True, blank=True, related_name="approvals")
    path = models.CharField(max_length=512, verbose_name="endpoint")
    scope = models.CharField(max_length=255)
    redirect_host = models.CharField(max_length=255)
    browser = models.CharField(max_length=64, editable=False)
    code_digest = models.CharField(max_length=64, editable=False, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)
    redeemed_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    last_used_from = models.CharField(max_length=64, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)
    end_reason = models.CharField(max_length=40, blank=True, editable=False)

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "connected application"
        indexes = (models.Index(fields=["ended_at"], name="approval_ended_at"),)

    def __str__(self) -> str:
        return f"{self.application} for {self.user}"


class RegistrationMark(models.Model):
    """One client that somebody anonymous registered; `source` is a keyed hash of where they are."""

    source = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = (models.Index(fields=["source", "at"], name="registrations_of_a_source"),)

    def __str__(self) -> str:
        return f"{self.source[:8]} at {self.at}"
