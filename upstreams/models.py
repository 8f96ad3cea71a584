"""What we call: upstreams, how they are, and every definition that they ever showed."""

from typing import Any, ClassVar, Final

from django.core.exceptions import ValidationError
from django.db import models, transaction

from mcphub.accounts.models import Org
from mcphub.accounts.versioned import Versioned
from mcphub.core.fields import EncryptedJSONField
from mcphub.core.ids import new_uuid
from mcphub.core.keyring import KeyringError
from upstreams import naming
from upstreams.credentials.models import Credential, OAuthRegistration, PendingAuthorization
from upstreams.risk import Risk
from upstreams.shaping import ALIAS, Shape, argument_faults, shape_of

__all__ = [
    "CatalogueEntry",
    "Credential",
    "CredentialKind",
    "CredentialMode",
    "Definition",
    "DefinitionVersion",
    "KindChoice",
    "Lease",
    "OAuthRegistration",
    "PayloadChoice",
    "PendingAuthorization",
    "RiskChoice",
    "SharingChoice",
    "TransportChoice",
    "Upstream",
    "UpstreamState",
]


class TransportChoice(models.TextChoices):
    AUTO = "auto", "HTTP, find out which kind"
    HTTP = "http", "Streamable HTTP"
    SSE = "sse", "HTTP+SSE (2024-11-05)"
    STDIO = "stdio", "Command (stdio)"


class SharingChoice(models.TextChoices):
    DEFAULT = "", "Default: commands shared, HTTP per user"
    SHARED = "shared", "One connection for everybody"
    PER_USER = "per-user", "One connection per principal"
    PER_SESSION = "per-session", "One connection per client session"


class CredentialMode(models.TextChoices):
    NONE = "none", "Nobody's: only the headers below"
    SHARED = "shared", "One account for everybody"
    PER_USER = "per-user", "Each person's own account"


class CredentialKind(models.TextChoices):
    API_KEY = "api-key", "API key"
    OAUTH = "oauth", "OAuth sign-in"


class ClaimsChoice(models.TextChoices):
    NONE = "", "Nothing"
    HEADER = "header", "A signed header (HTTP)"
    META = "meta", "A signed member of _meta"


class PayloadChoice(models.TextChoices):
    DEFAULT = "", "Default: redacted"
    NONE = "none", "Keep nothing"
    HASH = "hash", "Keep a hash"
    REDACTED = "redacted", "Keep with secrets redacted"
    FULL = "full", "Keep everything"


class RiskChoice(models.TextChoices):
    READ = Risk.READ.value, "read"
    WRITE = Risk.WRITE.value, "write"
    EXTERNAL = Risk.EXTERNAL.value, "external"
    DESTRUCTIVE = Risk.DESTRUCTIVE.value, "destructive"
    ADMIN = Risk.ADMIN.value, "admin"


class ReviewChoice(models.TextChoices):
    APPROVED = "approved", "approved"
    NOTED = "noted", "in use, not looked at"
    HELD = "held", "held back"
    REFUSED = "refused", "refused"


HELD_BACK: Final = (ReviewChoice.HELD, ReviewChoice.REFUSED)
"""What nobody is shown and nobody can call."""


class KindChoice(models.TextChoices):
    TOOL = "tool", "tool"
    PROMPT = "prompt", "prompt"
    RESOURCE = "resource", "resource"
    TEMPLATE = "template", "resource template"


class Upstream(Versioned):
    """An MCP server that the hub calls for one org.

    Times are seconds; an empty one means the installation's limit of that name, and 0 switches heartbeat or
    discovery off. `revision` rises by itself when a running connection would have to be made anew.
    `source` is the path of the servers file that the row comes from; "" when people edit it here.
    `may_elicit`, `may_sample` and `may_list_roots` say what it may ask of the client whose call it serves.
    Values of the variables in `shown_variables` may be shown; all others, and the contents of `files` (by variable,
    see `upstreams.secretfiles`), go in and never come out. `forward_headers` are headers of the client that go on
    with its calls, `claims` how the upstream is told who is calling (`upstreams.claims`).
    `disabled_tools` are original names that start out switched off when they are first seen.
    `credential_mode` and `_kind` say whose account calls run under and how it is connected (`Credential`);
    `key_header` and `key_format` how an API key is presented: a header's name, or that of a command's environment
    variable, and a text in which `{key}` stands for the key. `key_help` tells people where to find theirs.
    """

    CONNECTION_FIELDS: ClassVar[tuple[str, ...]] = (
        "slug",
        "transport",
        "url",
        "command",
        "args",
        "env",
        "headers",
        "variables",
        "files",
        "oauth",
        "sharing",
        "egress_allow",
        "credential_mode",
        "credential_kind",
        "key_header",
        "key_format",
    )

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="upstreams")
    slug = models.CharField(max_length=naming.MAX_SLUG)
    name = models.CharField(max_length=80)
    transport = models.CharField(max_length=8, choices=TransportChoice, default=TransportChoice.AUTO)
    url = models.CharField(max_length=2000, blank=True)
    command = models.CharField(max_length=1000, blank=True)
    args = models.JSONField(default=list, blank=True)
    env = EncryptedJSONField(default=dict)
    headers = EncryptedJSONField(default=dict)
    variables = EncryptedJSONField(default=dict)
    shown_variables = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    files = EncryptedJSONField(null=True)
    forward_headers = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    claims = models.CharField(max_length=8, choices=ClaimsChoice, default="", db_default="", blank=True)
    oauth = EncryptedJSONField(default=dict)
    credential_mode = models.CharField(
        max_length=8, choices=CredentialMode, default=CredentialMode.NONE, db_default=CredentialMode.NONE.value
    )
    credential_kind = models.CharField(
        max_length=8, choices=CredentialKind, default=CredentialKind.API_KEY, db_default=CredentialKind.API_KEY.value
    )
    key_header = models.CharField(max_length=80, blank=True, default="Authorization", db_default="Authorization")
    key_format = models.CharField(max_length=120, blank=True, default="Bearer {key}", db_default="Bearer {key}")
    key_help = models.CharField(max_length=300, blank=True, default="", db_default="")
    sharing = models.CharField(max_length=12, choices=SharingChoice, default=SharingChoice.DEFAULT, blank=True)
    enabled = models.BooleanField(default=True)
    connect_s = models.FloatField(null=True, blank=True)
    call_s = models.FloatField(null=True, blank=True)
    call_hard_s = models.FloatField(null=True, blank=True)
    heartbeat_s = models.FloatField(null=True, blank=True)
    discovery_s = models.FloatField(null=True, blank=True)
    payload_mode = models.CharField(max_length=8, choices=PayloadChoice, default=PayloadChoice.DEFAULT, blank=True)
    trusted = models.BooleanField(default=False)
    may_elicit = models.BooleanField(default=True, db_default=True)
    may_sample = models.BooleanField(default=True, db_default=True)
    may_list_roots = models.BooleanField(default=True, db_default=True)
    idempotent = models.JSONField(default=list, blank=True)
    disabled_tools = models.JSONField(default=list, blank=True)
    egress_allow = models.JSONField(default=list, blank=True)
    path_alias = models.CharField(max_length=80, blank=True)
    source = models.CharField(max_length=1000, blank=True, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("slug",)
        constraints = (
            models.UniqueConstraint(fields=("org", "slug"), name="one_upstream_per_slug"),
            models.UniqueConstraint(
                fields=("org", "path_alias"), condition=~models.Q(path_alias=""), name="one_upstream_per_path_alias"
            ),
        )

    def __str__(self) -> str:
        return self.slug

    @property
    def is_stdio(self) -> bool:
        return self.transport == TransportChoice.STDIO

    def connection_facts(self) -> dict[str, Any]:
        """Everything that a running connection was made from. Raises `KeyringError`."""
        return {name: getattr(self, name) for name in self.CONNECTION_FIELDS}

    def texts(self) -> tuple[str, ...]:
        """Every text in which `${VARIABLES}` are filled in. Raises `KeyringError`."""
        oauth = (value for value in self.oauth.values() if isinstance(value, str))
        return (self.url, self.command, *self.args, *self.env.values(), *self.headers.values(), *oauth)

    def save(self, *args: Any, **kwargs: Any) -> None:
        only = kwargs.get("update_fields")
        adding = self._state.adding
        with transaction.atomic():
            if not adding and (only is None or not set(self.CONNECTION_FIELDS).isdisjoint(only)):
                self._raise_revision()
                kwargs["update_fields"] = only and {*only, "revision"}
            super().save(*args, **kwargs)
            if adding:
                UpstreamState.objects.get_or_create(upstream=self)

    def _raise_revision(self) -> None:
        stored = Upstream.objects.select_for_update().get(pk=self.pk)
        changed = self._connects_otherwise(stored)
        self.revision = stored.revision + 1 if changed else stored.revision

    def _connects_otherwise(self, stored: "Upstream") -> bool:
        try:
            return self.connection_facts() != stored.connection_facts()
        except KeyringError:
            return True


class UpstreamState(models.Model):
    """How an upstream is, as the web processes saw it last. Not part of any snapshot.

    A due date asks the process that holds the connection to act; it looks once a second.
    """

    class State(models.TextChoices):
        NEW = "new", "not tried yet"
        CONNECTING = "connecting", "connecting"
        UP = "up", "up"
        RESTING = "resting", "left alone"
        DOWN = "down", "down"
        STOPPED = "stopped", "stopped"

    upstream = models.OneToOneField(Upstream, on_delete=models.CASCADE, primary_key=True, related_name="state")
    state = models.CharField(max_length=12, choices=State, default=State.NEW)
    since = models.DateTimeField(auto_now_add=True)
    era = models.CharField(max_length=12, blank=True)
    protocol = models.CharField(max_length=12, blank=True)
    server_info = models.JSONField(default=dict)
    capabilities = models.JSONField(default=dict)
    instructions = models.TextField(blank=True)
    sessionless = models.BooleanField(default=False)
    last_error = models.TextField(blank=True)
    last_error_at = models.DateTimeField(null=True)
    last_ok_at = models.DateTimeField(null=True)
    discovered_at = models.DateTimeField(null=True)
    dropped = models.JSONField(default=list)
    stderr_tail = models.TextField(blank=True)
    refresh_due_at = models.DateTimeField(null=True, db_index=True)
    restart_due_at = models.DateTimeField(null=True, db_index=True)
    worker = models.CharField(max_length=80, blank=True)

    def __str__(self) -> str:
        return f"{self.upstream} is {self.state}"


class Definition(Versioned):
    """One tool, prompt, resource or template of an upstream, with the operator's switches.

    The row outlives the upstream's own listing, so that switches survive rediscovery. `current` is the
    version that was seen last. `alias` and `described_as` stand in lists in place of the upstream's own words;
    `arguments` is `{name: {"mode": "default" | "fixed" | "hidden", "value": …}}` (`upstreams.shaping`).
    """

    org_path: ClassVar[str] = "upstream__org"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    upstream = models.ForeignKey(Upstream, on_delete=models.CASCADE, related_name="definitions")
    kind = models.CharField(max_length=8, choices=KindChoice)
    name = models.CharField(max_length=1024)
    enabled = models.BooleanField(default=True)
    risk_override = models.CharField(max_length=12, choices=RiskChoice, blank=True, default="")
    alias = models.CharField(max_length=naming.MAX_NAME, blank=True, default="", db_default="")
    described_as = models.TextField(max_length=16_000, blank=True, default="", db_default="")
    arguments = models.JSONField(default=dict, blank=True, db_default={})
    current = models.ForeignKey("DefinitionVersion", on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ("kind", "name")
        constraints = (
            models.UniqueConstraint(fields=("upstream", "kind", "name"), name="one_definition_per_kind_and_name"),
            models.UniqueConstraint(
                fields=("upstream", "kind", "alias"), condition=~models.Q(alias=""), name="one_definition_per_alias"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def risk(self) -> Risk:
        """What policy goes by: the operator's word, else the class found in the current version."""
        found = self.current.risk if self.current else Risk.WRITE
        return Risk(self.risk_override or found)

    @property
    def held(self) -> bool:
        """Whether the version seen last waits for approval, or was refused."""
        return self.current is not None and self.current.review in HELD_BACK

    @property
    def public_name(self) -> str:
        """The name on aggregates; resources and templates keep their URI."""
        if self.kind in (KindChoice.TOOL, KindChoice.PROMPT):
            return naming.public_name(self.upstream.slug, self.alias or self.name)
        return self.name

    @property
    def shape(self) -> Shape | None:
        """What the operator changes; None for nothing."""
        body = self.current.body if self.current else ""
        return shape_of(body, self.alias, self.described_as, self.arguments)

    def clean(self) -> None:
        """Names and arguments that no call could be made with are refused, wherever they come from.

        What was saved once stays: an upstream that changes its mind is no reason to open an argument.
        """
        stored = Definition.objects.filter(pk=self.pk).first()
        faults: dict[str, list[str]] = {}
        if stored is None or stored.alias != self.alias:
            faults["alias"] = alias_faults(self)
        if stored is None or stored.arguments != self.arguments:
            faults["arguments"] = self._argument_faults()
        if any(faults.values()):
            raise ValidationError({name: found for name, found in faults.items() if found})

    def _argument_faults(self) -> list[str]:
        if self.kind != KindChoice.TOOL and self.arguments:
            return ["Only the arguments of tools can be changed."]
        return argument_faults(self.arguments, self.current.body if self.current else "")


def alias_faults(row: Definition) -> list[str]:
    """Why the row cannot have its alias, as sentences: names of one upstream never meet."""
    if not row.alias:
        return []
    if row.kind not in (KindChoice.TOOL, KindChoice.PROMPT):
        return ["Resources keep their URI."]
    if not ALIAS.match(row.alias):
        return ["Use at most 64 letters, digits, - and _."]
    others = Definition.objects.filter(upstream_id=row.upstream_id, kind=row.kind).exclude(pk=row.pk)
    public = row.public_name
    for name, alias in others.values_list("name", "alias"):
        if row.alias in (name, alias):
            return [f"This is what {name!r} is called."]
        if public in {naming.public_name(row.upstream.slug, each) for each in (name, alias) if each}:
            return [f"As {public} it could not be told from {name!r}."]
    return ["It is called so already."] if row.alias == row.name else []


class DefinitionVersion(Versioned):
    """One text that an upstream gave for a definition. The text never changes: together, the ledger.

    `digest` is the SHA-256 (hex) of the canonical text, `body` the JSON as it came first, `risk` the class found.
    `changes` are what is new against `baseline`, the version that was in use, or suspicious in itself: objects of
    `kind`, `where`, `detail` (`upstreams.ledger.changes`). `reviewed_by` is the person who approved or refused it.
    `tokens` are what a model reads for it (`upstreams.ledger.counting`), None until they are counted.
    """

    org_path: ClassVar[str] = "definition__upstream__org"
    unversioned: ClassVar[frozenset[str]] = frozenset({"tokens"})

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    definition = models.ForeignKey(Definition, on_delete=models.CASCADE, related_name="versions")
    digest = models.CharField(max_length=64)
    body = models.TextField()
    risk = models.CharField(max_length=12, choices=RiskChoice)
    first_seen = models.DateTimeField(auto_now_add=True)
    review = models.CharField(max_length=8, choices=ReviewChoice, default=ReviewChoice.APPROVED, db_index=True)
    changes = models.JSONField(default=list)
    baseline = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+")
    reviewed_at = models.DateTimeField(null=True)
    reviewed_by = models.CharField(max_length=254, blank=True)
    tokens = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ("-first_seen",)
        verbose_name = "changed definition"
        constraints = (models.UniqueConstraint(fields=("definition", "digest"), name="one_version_per_digest"),)

    def __str__(self) -> str:
        return f"{self.definition}, {self.digest[:12]}"


class CatalogueEntry(Versioned):
    """Who has which definition now: `holder` is "" for everybody, or a principal id."""

    org_path: ClassVar[str] = "definition__upstream__org"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    definition = models.ForeignKey(Definition, on_delete=models.CASCADE, related_name="entries")
    version = models.ForeignKey(DefinitionVersion, on_delete=models.CASCADE, related_name="+")
    holder = models.CharField(max_length=120, blank=True, default="")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("definition", "holder"), name="one_entry_per_holder"),)

    def __str__(self) -> str:
        return f"{self.definition} for {self.holder or 'everybody'}"


class Lease(models.Model):
    """Which web process has what only one may have. It runs out by itself when its worker has died.

    `key` names a connection: upstream id and holder, with a slash between.
    """

    key = models.CharField(max_length=200, primary_key=True)
    worker = models.CharField(max_length=32, db_index=True)
    until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key
