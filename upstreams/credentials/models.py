"""What the hub presents to upstreams: shared slots, personal credentials, and what OAuth needs to obtain them.

Who writes what is said with each column: `service` is `upstreams.credentials.services`, `oauth` the OAuth client
side (`upstreams.oauth`).
"""

from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models import F

from mcphub.accounts.models import Org, User
from mcphub.accounts.versioned import Versioned, VersionedQuerySet
from mcphub.core.fields import EncryptedJSONField
from mcphub.core.ids import new_uuid

SHARED = ""
"""The holder of the one slot that everybody's calls use."""


class CredentialQuerySet(VersionedQuerySet["Credential"]):
    """Whatever changes a credential raises its version."""

    def update(self, **changes: Any) -> int:
        if not self.model.unversioned.issuperset(changes):
            changes["version"] = F("version") + 1
        return super().update(**changes)


class Credential(Versioned):
    """What the hub presents to one upstream for one holder: "" for the shared slot, or a principal's id.

    The row outlives a loss of the secret, so that people see what became of it; disconnecting deletes it. Rows are
    changed with the row locked (`select_for_update`); every change but a use raises `version`, and with it
    `Org.credentials_version`, by which each process's memory (`upstreams.credentials.vault`) is kept current.

    | column | holds | written by |
    |---|---|---|
    | `secret` | `{"key"}` of a slot, `{"access_token", "refresh_token", …}` of OAuth; None once purged | both |
    | `state` | whether it can be used; see `State` | both |
    | `problem` | why it cannot be used, one sentence without secrets | both |
    | `place` | where it was given for (`presented.place_of`): it is never sent to another | service |
    | `account` | which account it is, if known; for people | both |
    | `connected_at`, `connected_by` | when and by whom it was put there: another value is another session | service |
    | `issuer`, `resource`, `scopes`, `expires_at`, `obtained_at`, `registration` | where tokens are from | oauth |
    | `failures`, `failing_since` | failed refreshes in a row, since when | oauth |
    | `renewing_by`, `renewing_until` | which flight refreshes it; nobody named: when the next may | oauth |
    | `notified_at` | when its holder was mailed about this failure | oauth |
    | `last_used_at` | the last use, a minute coarse | service |
    | `listed_at` | when its holder's own definitions were read with it | service |
    """

    class State(models.TextChoices):
        CONNECTED = "connected", "connected"
        EXPIRED = "expired", "expired"
        NEEDS_CONNECTION = "needs_connection", "needs connecting"
        FAILING = "failing", "failing"

    org_path: ClassVar[str] = "upstream__org"
    version_of_org: ClassVar[str] = "credentials_version"
    unversioned: ClassVar[frozenset[str]] = frozenset(
        {
            *("last_used_at", "notified_at", "listed_at"),
            *("failures", "failing_since", "renewing_by", "renewing_until"),
        }
    )

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    upstream = models.ForeignKey("upstreams.Upstream", on_delete=models.CASCADE, related_name="credentials")
    holder = models.CharField(max_length=120, blank=True, default=SHARED)
    secret = EncryptedJSONField(null=True)
    state = models.CharField(max_length=16, choices=State, default=State.CONNECTED)
    problem = models.CharField(max_length=300, blank=True)
    place = models.CharField(max_length=300, blank=True, default="", db_default="")
    account = models.CharField(max_length=200, blank=True)
    connected_at = models.DateTimeField()
    connected_by = models.CharField(max_length=200, blank=True)
    issuer = models.CharField(max_length=2000, blank=True)
    resource = models.CharField(max_length=2000, blank=True)
    scopes = models.JSONField(default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True)
    obtained_at = models.DateTimeField(null=True, blank=True, db_index=True)
    registration = models.ForeignKey(
        "upstreams.OAuthRegistration", on_delete=models.SET_NULL, null=True, blank=True, related_name="credentials"
    )
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    renewing_by = models.CharField(max_length=32, blank=True, default="", db_default="", editable=False)
    renewing_until = models.DateTimeField(null=True, blank=True, editable=False)
    notified_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    listed_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveBigIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CredentialQuerySet.as_manager()  # type: ignore[misc]  # the base one, widened

    class Meta:
        ordering = ("upstream__slug", "holder")
        constraints = (models.UniqueConstraint(fields=("upstream", "holder"), name="one_credential_per_holder"),)
        indexes = (models.Index(fields=("holder",)),)

    def __str__(self) -> str:
        return f"{self.upstream} for {self.holder or 'everybody'}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        only = kwargs.get("update_fields")
        with transaction.atomic():
            if not self._state.adding and (only is None or not self.unversioned.issuperset(only)):
                stored = Credential.objects.select_for_update().values_list("version", flat=True).get(pk=self.pk)
                self.version = stored + 1
                kwargs["update_fields"] = only and {*only, "version"}
            super().save(*args, **kwargs)


class OAuthRegistration(models.Model):
    """The hub as a client of one authorization server. `oauth` writes it; operators write pre-registered ones.

    For one `upstream`, or for every upstream of the org at a host of `domain` (and below it). An empty `issuer` is
    taken for whichever issuer the upstream names. `secret` holds `{"client_secret"}` or `{"private_key", …}`.
    """

    class Origin(models.TextChoices):
        PREREGISTERED = "preregistered", "registered by an operator"
        METADATA = "metadata", "the hub's client ID metadata document"
        DYNAMIC = "dynamic", "registered dynamically"

    org_path: ClassVar[str] = "org"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="oauth_registrations")
    upstream = models.ForeignKey(
        "upstreams.Upstream", on_delete=models.CASCADE, null=True, blank=True, related_name="oauth_registrations"
    )
    domain = models.CharField(max_length=255, blank=True)
    issuer = models.CharField(max_length=2000, blank=True)
    client_id = models.CharField(max_length=2000)
    secret = EncryptedJSONField(default=dict)
    auth_method = models.CharField(max_length=40, blank=True)
    grant = models.CharField(max_length=40, default="authorization_code")
    scopes = models.JSONField(default=list, blank=True)
    origin = models.CharField(max_length=16, choices=Origin, default=Origin.PREREGISTERED)
    redirect_uri = models.CharField(max_length=2000, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "OAuth client registration"
        ordering = ("org", "upstream__slug", "domain", "issuer")
        constraints = (
            models.UniqueConstraint(
                fields=("upstream", "issuer", "origin"),
                condition=models.Q(upstream__isnull=False),
                name="one_registration_per_upstream",
            ),
            models.UniqueConstraint(
                fields=("org", "domain", "issuer", "origin"),
                condition=models.Q(upstream__isnull=True),
                name="one_registration_per_domain",
            ),
        )

    def __str__(self) -> str:
        return f"{self.client_id} at {self.issuer or self.domain or self.upstream}"


class PendingAuthorization(models.Model):
    """An authorization that a person has begun and not finished: written before the redirect, used once.

    `oauth` writes and deletes it. `state_hash` and `browser_hash` are keyed hashes of the state parameter and of the
    cookie that binds it to the browser; `secret` holds the PKCE verifier and whatever else must not be readable.
    """

    org_path: ClassVar[str] = "upstream__org"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    upstream = models.ForeignKey("upstreams.Upstream", on_delete=models.CASCADE, related_name="+")
    holder = models.CharField(max_length=120, blank=True, default=SHARED)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    state_hash = models.CharField(max_length=64, unique=True)
    browser_hash = models.CharField(max_length=64)
    secret = EncryptedJSONField(default=dict)
    issuer = models.CharField(max_length=2000)
    resource = models.CharField(max_length=2000, blank=True)
    scopes = models.JSONField(default=list, blank=True)
    registration = models.ForeignKey(OAuthRegistration, on_delete=models.CASCADE, null=True, related_name="+")
    redirect_uri = models.CharField(max_length=2000)
    back_to = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.user} at {self.upstream}"
