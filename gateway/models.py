"""Handshake sessions, so that every worker knows them; and the rows of the authorization server."""

from django.db import models

from gateway.authserver.models import Approval, RegistrationMark

__all__ = ["Approval", "RegistrationMark", "Session"]


class Session(models.Model):
    """One handshake session. Plain ids and no foreign keys: it says who may use it, and what the client declared.

    `client` is JSON text of capabilities and info: text, because jsonb refuses some of what JSON allows.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    principal = models.CharField(max_length=80)
    org_id = models.CharField(max_length=36)
    path = models.CharField(max_length=255)
    revision = models.CharField(max_length=10)
    client = models.TextField()
    log_level = models.CharField(max_length=10, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    active_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=["principal"], condition=models.Q(ended_at=None), name="living_session_of_principal"),
        )

    def __str__(self) -> str:
        return str(self.id)
