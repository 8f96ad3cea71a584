"""What operators write: roles, what roles reach, and the rules that come before."""

from typing import Any, ClassVar, cast

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from mcphub.accounts.models import Org
from mcphub.accounts.roles import RIGHTS, Right, role_names
from mcphub.accounts.versioned import Versioned
from mcphub.core.ids import SLUG_PATTERN, new_uuid
from policies import types
from policies.approvals.models import ApprovalSettings, CallApproval
from policies.mapping import MappingSpec
from policies.rates import Per, RateSpec
from policies.validation import rule_problems
from upstreams.models import KindChoice, RiskChoice, Upstream

__all__ = [
    "ApprovalSettings",
    "AttributeMapping",
    "CallApproval",
    "Grant",
    "RateLimit",
    "Replay",
    "Role",
    "Rule",
    "Toolset",
]

SLUG_WORDS = "2–32 lower-case letters, digits and inner hyphens."
ROLE_NAME: RegexValidator = RegexValidator(rf"\A{SLUG_PATTERN}\Z", SLUG_WORDS, "role_name")
SLUG: RegexValidator = RegexValidator(rf"\A{SLUG_PATTERN}\Z", SLUG_WORDS, "slug")


class AutoGrantChoice(models.TextChoices):
    NONE = "none", "Nothing"
    READ_ONLY = "read-only", "Read-only tools, prompts and resources"
    ALL = "all", "Everything"


class AccessChoice(models.TextChoices):
    NONE = "none", "Nothing"
    READ_ONLY = "read-only", "Read-only tools, prompts and resources"
    ALL = "all", "Everything"
    CUSTOM = "custom", "Only what is switched on below"


class EffectChoice(models.TextChoices):
    ALLOW = "allow", "Allow"
    DENY = "deny", "Deny"
    ASK = "ask", "Ask a person"


def tools_only() -> list[str]:
    """The kinds of a rule that names none."""
    return ["tool"]


class Role(Versioned):
    """A named bundle of rights in one org's pages, and of what its members reach on upstreams.

    `auto_grant` holds for every upstream that no grant of this role mentions, new ones included.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="roles")
    name = models.CharField(max_length=32, validators=[ROLE_NAME])
    builtin = models.BooleanField(default=False, editable=False)
    rights = models.JSONField(default=list, blank=True)
    auto_grant = models.CharField(max_length=12, choices=AutoGrantChoice, default=AutoGrantChoice.NONE)

    class Meta:
        ordering = ("-builtin", "name")
        constraints = (models.UniqueConstraint(fields=("org", "name"), name="one_role_per_name"),)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        unknown = [name for name in self.rights if name not in set(Right)]
        if unknown:
            raise ValidationError({"rights": f"Unknown: {', '.join(map(str, unknown))}."})
        if not self.builtin and self.name in RIGHTS:
            raise ValidationError({"name": "This is the name of a built-in role."})

    def spec(self) -> types.RoleSpec:
        return types.RoleSpec(self.name, cast(types.AutoGrant, self.auto_grant))


class Grant(Versioned):
    """A role's access to one upstream. `tools` holds the explicit switches: `{kind: {original name: on}}`."""

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="grants")
    role = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="grants")
    upstream = models.ForeignKey(Upstream, on_delete=models.CASCADE, related_name="grants")
    access = models.CharField(max_length=12, choices=AccessChoice, default=AccessChoice.READ_ONLY)
    tools = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("upstream__slug", "role__name")
        constraints = (models.UniqueConstraint(fields=("role", "upstream"), name="one_grant_per_role_and_upstream"),)

    def __str__(self) -> str:
        return f"{self.role} on {self.upstream}: {self.access}"

    def clean(self) -> None:
        for row in ("role", "upstream"):
            if getattr(self, f"{row}_id") and self.org_id != getattr(self, row).org_id:
                raise ValidationError({row: "This belongs to another org."})
        if not _is_switches(self.tools):
            raise ValidationError({"tools": "Write {kind: {name: true or false}}."})

    def spec(self) -> types.Grant:
        """The grant as policy takes it; needs `role` and `upstream` loaded."""
        switches = {(kind, name): on for kind, names in self.tools.items() for name, on in names.items()}
        return types.Grant(self.role.name, self.upstream.slug, cast(types.Access, self.access), switches)


def _is_switches(tools: Any) -> bool:
    return isinstance(tools, dict) and all(
        kind in types.KINDS and isinstance(names, dict) and all(isinstance(on, bool) for on in names.values())
        for kind, names in tools.items()
    )


class ReplayQuerySet(models.QuerySet["Replay"]):
    """Replays by org."""

    def for_org(self, org: Any) -> "ReplayQuerySet":
        """Only rows of this org (an `Org`, an `OrgRef` or an id)."""
        return self.filter(org_id=getattr(org, "id", org))


class Replay(models.Model):
    """A draft of rules against the calls of the last `days`: asked for by a person, worked on by a worker.

    `draft` is `{"put": [rule, …], "remove": [name, …]}` as in the API, `result` what `policies.replaying.summary`
    made of it. `worked_at` is the latest sign of life of whoever works on it.
    """

    class State(models.TextChoices):
        DUE = "due", "waiting for a worker"
        RUNNING = "running", "reading the record"
        DONE = "done", "done"
        FAILED = "failed", "failed"

    org_path: ClassVar[str] = "org"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="replays")
    title = models.CharField(max_length=120)
    draft = models.JSONField()
    days = models.PositiveSmallIntegerField(default=7)
    asked_by = models.CharField(max_length=320)
    asked_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=8, choices=State, default=State.DUE, db_index=True)
    worked_at = models.DateTimeField(null=True)
    calls = models.PositiveBigIntegerField(default=0)
    fault = models.CharField(max_length=200, blank=True)
    result = models.JSONField(null=True)

    objects = ReplayQuerySet.as_manager()

    class Meta:
        ordering = ("-asked_at",)

    def __str__(self) -> str:
        return f"{self.title}, last {self.days} days"


class Rule(Versioned):
    """One ordered line of policy; the lowest priority number comes first and the first match decides.

    Lists hold globs (`*`, `?`); an empty one means any.
    """

    LISTS: ClassVar[tuple[str, ...]] = ("kinds", "roles", "upstreams", "tools", "risks", "applications")

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="rules")
    name = models.CharField(max_length=80)
    priority = models.IntegerField(default=100)
    effect = models.CharField(max_length=5, choices=EffectChoice)
    kinds = models.JSONField(default=tools_only)
    roles = models.JSONField(default=list, blank=True)
    upstreams = models.JSONField(default=list, blank=True)
    tools = models.JSONField(default=list, blank=True)
    risks = models.JSONField(default=list, blank=True)
    applications = models.JSONField(default=list, blank=True)
    condition = models.TextField(blank=True)
    reason = models.CharField(max_length=200, blank=True)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ("priority", "name")
        constraints = (models.UniqueConstraint(fields=("org", "name"), name="one_rule_per_name"),)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        self._check_lists()
        problems = rule_problems(self.spec())
        if problems:
            raise ValidationError({problem.field: problem.text for problem in problems})

    def _check_lists(self) -> None:
        """Shapes first: values from an API or a file need not be lists of texts."""
        known = {"kinds": set(KindChoice.values), "risks": set(RiskChoice.values)}
        for name in self.LISTS:
            value = getattr(self, name)
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValidationError({name: "Write a list of texts."})
            if name in known and not known[name].issuperset(value):
                raise ValidationError({name: f"Choose among {', '.join(sorted(known[name]))}."})

    def spec(self) -> types.Rule:
        return types.Rule(
            id=str(self.pk),
            name=self.name,
            priority=self.priority,
            effect=cast(types.Effect, self.effect),
            kinds=tuple(self.kinds),
            roles=tuple(self.roles),
            upstreams=tuple(self.upstreams),
            tools=tuple(self.tools),
            risks=tuple(types.Risk(item) for item in self.risks),
            applications=tuple(self.applications),
            condition=self.condition,
            reason=self.reason,
            enabled=self.enabled,
        )


class RateLimit(Versioned):
    """At most `calls` in any `seconds`, for each principal, upstream or tool by itself, or for the whole org.

    Lists hold globs (`*`, `?`); an empty one means any. `tools` are original names, and URIs of resources.
    """

    class PerChoice(models.TextChoices):
        PRINCIPAL = "principal", "each principal"
        ORG = "org", "the whole org"
        UPSTREAM = "upstream", "each upstream"
        TOOL = "tool", "each tool"

    LISTS: ClassVar[tuple[str, ...]] = ("roles", "upstreams", "tools")
    MOST_CALLS: ClassVar[int] = 10_000
    LONGEST_S: ClassVar[int] = 86_400

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="rate_limits")
    name = models.CharField(max_length=80)
    per = models.CharField("counted for", max_length=9, choices=PerChoice, default=PerChoice.PRINCIPAL)
    calls = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(MOST_CALLS)])
    seconds = models.PositiveIntegerField(default=60, validators=[MinValueValidator(1), MaxValueValidator(LONGEST_S)])
    roles = models.JSONField(default=list, blank=True)
    upstreams = models.JSONField(default=list, blank=True)
    tools = models.JSONField(default=list, blank=True)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("org", "name"), name="one_rate_limit_per_name"),)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        for name in self.LISTS:
            value = getattr(self, name)
            if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
                raise ValidationError({name: "Write a list of texts."})

    def spec(self) -> RateSpec:
        return RateSpec(
            id=str(self.pk),
            name=self.name,
            per=cast(Per, self.per),
            calls=self.calls,
            seconds=self.seconds,
            roles=tuple(self.roles),
            upstreams=tuple(self.upstreams),
            tools=tuple(self.tools),
        )


class AttributeMapping(Versioned):
    """What an identity provider says of somebody, and the roles that follow from it.

    `values` are texts (`true` and `false` for booleans), of which one must be there; `sources` are `people` or names
    of issuers, empty for all.
    """

    LISTS: ClassVar[tuple[str, ...]] = ("values", "roles", "sources")

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="attribute_mappings")
    name = models.CharField(max_length=80)
    claim = models.CharField(max_length=200)
    values = models.JSONField(default=list)
    roles = models.JSONField(default=list)
    sources = models.JSONField(default=list, blank=True)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("org", "name"), name="one_mapping_per_name"),)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        for name in self.LISTS:
            value = getattr(self, name)
            if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
                raise ValidationError({name: "Write a list of texts."})
        unknown = sorted(set(self.roles) - role_names(str(self.org_id))) if self.org_id else []
        if unknown:
            raise ValidationError({"roles": f"The org has no role {', '.join(unknown)}."})

    def spec(self) -> MappingSpec:
        return MappingSpec(self.name, self.claim, frozenset(self.values), tuple(self.roles), frozenset(self.sources))


class Toolset(Versioned):
    """A named subset of what an org offers, at an address of its own: `/mcp/{org}/t/{slug}`.

    `tools` are globs over public names of tools and prompts (`github__*`); resources come along with the upstreams
    that have any of them. It never gives more than policy does. With `search`, clients are listed two tools,
    `find_tools` and `call_tool`, in place of all that it holds.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="toolsets")
    slug = models.CharField(max_length=32, validators=[SLUG])
    name = models.CharField(max_length=80)
    tools = models.JSONField(default=list)
    search = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ("slug",)
        constraints = (models.UniqueConstraint(fields=("org", "slug"), name="one_toolset_per_slug"),)

    def __str__(self) -> str:
        return self.slug

    def spec(self) -> types.ToolsetSpec:
        """The toolset as the gateway reads it."""
        return types.ToolsetSpec(self.slug, self.name, tuple(self.tools), self.search)
