"""Policy, and what else belongs to it, as parts of the configuration document."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError

from mcphub.accounts.declared.orgs import IssuerSection
from mcphub.accounts.declared.sections import BadPart, Section, Sources
from mcphub.accounts.models import Org
from mcphub.accounts.roles import RIGHTS
from policies.mappings import apply_to_members
from policies.models import ApprovalSettings, AttributeMapping, Grant, RateLimit, Role, Rule, Toolset
from policies.selectors import BUILT_IN, held_by
from upstreams.models import Upstream


class RoleSection(Section):
    """Built-in roles are there always: only what they are granted by itself can be said of them."""

    name = "roles"
    model = Role
    fields = ("rights", "auto_grant")

    def is_kept(self, row: Any) -> bool:
        return bool(row.builtin)

    def why_not_removed(self, row: Any) -> str:
        members, keys = held_by(row)
        return f"is held by {members} members and {keys} keys; take it from them first" if members or keys else ""

    def is_said(self, row: Any) -> bool:
        return not row.builtin

    def make(self, org: Org, key: str) -> Role:
        return Role(org=org, name=key, builtin=key in RIGHTS)

    def out(self, row: Any) -> dict[str, Any]:
        usual = {spec.name: spec.auto_grant for spec in BUILT_IN}
        if row.builtin:
            return {} if row.auto_grant == usual.get(row.name) else {"auto_grant": row.auto_grant}
        return super().out(row)

    def take(self, row: Any, given: Mapping[str, Any], sources: Sources) -> None:
        if row.builtin and "rights" in given:
            raise BadPart("rights", "the rights of this role are built in")
        usual = {spec.name: spec.auto_grant for spec in BUILT_IN}
        super().take(row, {"auto_grant": usual[row.name], **given} if row.builtin else given, sources)
        row.rights = sorted(set(row.rights))


class GrantSection(Section):
    """Keys are `role/upstream`."""

    name = "grants"
    model = Grant
    fields = ("access", "tools")

    def rows(self, org: Org) -> Iterable[Any]:
        return Grant.objects.for_org(org).select_related("role", "upstream")

    def key(self, row: Any) -> str:
        return f"{row.role.name}/{row.upstream.slug}"

    def make(self, org: Org, key: str) -> Grant:
        role, _, slug = key.partition("/")
        found = Role.objects.for_org(org).filter(name=role).first()
        upstream = Upstream.objects.for_org(org).filter(slug=slug).first()
        if found is None or upstream is None:
            raise BadPart("", "write ROLE/UPSTREAM, both of this org")
        return Grant(org=org, role=found, upstream=upstream)


class RuleSection(Section):
    name = "rules"
    model = Rule
    fields = (
        "priority", "effect", "kinds", "roles", "upstreams", "tools", "risks", "applications", "condition", "reason",
        "enabled",
    )  # fmt: skip

    def check(self, row: Any) -> None:
        if not isinstance(row.priority, int) or isinstance(row.priority, bool):
            raise ValidationError({"priority": "Write a whole number."})
        super().check(row)


class RateLimitSection(Section):
    name = "rate_limits"
    model = RateLimit
    fields = ("per", "calls", "seconds", "roles", "upstreams", "tools", "enabled")

    def check(self, row: Any) -> None:
        for name in ("calls", "seconds"):
            if not isinstance(getattr(row, name), int) or isinstance(getattr(row, name), bool):
                raise BadPart(name, "must be a whole number")
        super().check(row)


class ApprovalsSection(Section):
    """One row: `approvals: {calls: {…}}`. Webhooks are entered where their new secret can be shown."""

    name = "approvals"
    model = ApprovalSettings
    fields = ("own_calls",)

    def key(self, row: Any) -> str:
        return "calls"

    def make(self, org: Org, key: str) -> ApprovalSettings:
        if key != "calls":
            raise BadPart("", "approval settings stand under “calls”")
        return ApprovalSettings(org=org)

    def is_kept(self, row: Any) -> bool:
        return True

    def is_said(self, row: Any) -> bool:
        return False


class ToolsetSection(Section):
    name = "toolsets"
    model = Toolset
    fields = ("tools", "search", "enabled")

    def key(self, row: Any) -> str:
        return str(row.slug)

    def make(self, org: Org, key: str) -> Toolset:
        return Toolset(org=org, slug=key, name=key)

    def known(self) -> Collection[str]:
        return ("name", *self.fields)

    def out(self, row: Any) -> dict[str, Any]:
        named = {"name": row.name} if row.name != row.slug else {}
        return {**named, **super().out(row)}

    def take(self, row: Any, given: Mapping[str, Any], sources: Sources) -> None:
        super().take(row, given, sources)
        row.name = self._shaped("name", given.get("name", row.slug))


class MappingSection(Section):
    """After each change, what follows from the claims of everybody who signed in is worked out anew."""

    name = "attribute_mappings"
    model = AttributeMapping
    fields = ("claim", "values", "roles", "sources", "enabled")

    def save(self, row: Any) -> None:
        super().save(row)
        apply_to_members(row.org)

    def remove(self, row: Any) -> None:
        super().remove(row)
        apply_to_members(row.org)


SECTIONS: Final = (
    RoleSection,
    GrantSection,
    RuleSection,
    IssuerSection,
    MappingSection,
    ToolsetSection,
    RateLimitSection,
    ApprovalsSection,
)
"""In the order in which they refer to one another."""
