"""What is stored of an org's policy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcphub.accounts import quotas
from mcphub.accounts.models import ApiKey, Membership
from mcphub.accounts.roles import MEMBER, OPERATOR, OWNER, RIGHTS, VIEWER, Right, rights_of
from mcphub.accounts.roles import role_names as known_roles
from policies import types
from policies.globs import Globs
from policies.mapping import MappingSpec, mapped
from policies.models import AttributeMapping, Grant, RateLimit, Role, Rule, Toolset
from policies.rates import RateSpec
from upstreams.models import Definition

QUOTA_S: Final = 60
"""Quotas of calls are for a minute."""

URI_RISK: Final = types.Risk.READ
"""Of whatever has a URI (`upstreams.risk.risk_of`)."""

BUILT_IN: Final[tuple[types.RoleSpec, ...]] = (
    types.RoleSpec(OWNER, "all"),
    types.RoleSpec(OPERATOR, "all"),
    types.RoleSpec(VIEWER, "read-only"),
    types.RoleSpec(MEMBER, "none"),
)


def role_specs(org_id: Any) -> list[types.RoleSpec]:
    """The org's roles; a built-in one whose row is missing is as it came."""
    stored = {row.name: row.spec() for row in Role.objects.for_org(org_id)}
    return [*stored.values(), *(spec for spec in BUILT_IN if spec.name not in stored)]


def grants(org_id: Any) -> list[types.Grant]:
    return [row.spec() for row in Grant.objects.for_org(org_id).select_related("role", "upstream")]


def rules(org_id: Any) -> list[types.Rule]:
    """All rules of the org, switched-off ones too."""
    return [row.spec() for row in Rule.objects.for_org(org_id)]


def rate_limits(org_id: Any) -> list[RateSpec]:
    """The org's rate limits that are switched on, and what its quota allows."""
    found = [row.spec() for row in RateLimit.objects.for_org(org_id).filter(enabled=True)]
    calls = quotas.limit(org_id, "calls")
    return [*found, RateSpec(f"quota-{org_id}", "quota", "org", calls, QUOTA_S)] if calls else found


def toolsets(org_id: Any) -> list[types.ToolsetSpec]:
    """The org's toolsets that are switched on."""
    return [row.spec() for row in Toolset.objects.for_org(org_id).filter(enabled=True)]


@dataclass(frozen=True, slots=True)
class HeldTool:
    """A tool or prompt of a toolset by its public name; `tokens` is None until they are counted."""

    name: str
    kind: str
    upstream: str
    risk: str
    tokens: int | None


def held_tools(toolset: Toolset) -> list[HeldTool]:
    """What a toolset holds of that which upstreams offer to anybody now, by public name."""
    globs = Globs.of(tuple(toolset.tools))
    offered = Definition.objects.for_org(toolset.org_id).filter(
        kind__in=("tool", "prompt"), enabled=True, entries__isnull=False
    )
    rows = offered.distinct().select_related("upstream", "current")
    held = [row for row in rows if toolset.tools and globs.match(row.public_name) and not row.held]
    return sorted((_held_tool(row) for row in held), key=lambda each: each.name)


def _held_tool(row: Definition) -> HeldTool:
    tokens = row.current.tokens if row.current else None
    return HeldTool(row.public_name, row.kind, row.upstream.slug, str(row.risk), tokens)


def targets(org_id: Any) -> list[types.Target]:
    """Everything that the org's upstreams offer to anybody now, as policy sees it."""
    offered = Definition.objects.for_org(org_id).filter(entries__isnull=False).distinct()
    return [target_of(row) for row in offered.select_related("upstream", "current")]


def target_of(row: Definition) -> types.Target:
    """A definition as policy sees it; needs `upstream` and `current` loaded."""
    kind = next(kind for kind in types.KINDS if kind == row.kind)
    return types.Target(kind, row.upstream.slug, row.name, row.risk)


def role_names(org_id: str) -> Iterable[str]:
    """The names of the org's own roles besides the built-in ones (hook `known_roles`)."""
    return list(Role.objects.for_org(org_id).exclude(name__in=RIGHTS).values_list("name", flat=True))


def role_rights(org_id: str, names: frozenset[str]) -> Iterable[str]:
    """The rights that some of the org's own roles carry (hook `role_rights`)."""
    stored = Role.objects.for_org(org_id).filter(name__in=names, builtin=False).values_list("rights", flat=True)
    return {right for rights in stored for right in rights}


def mappings(org_id: Any) -> list[MappingSpec]:
    """The org's attribute mappings that are switched on."""
    return [row.spec() for row in AttributeMapping.objects.for_org(org_id).filter(enabled=True)]


def roles_of_claims(org_id: str, source: str, claims: Mapping[str, Any]) -> Iterable[str]:
    """What the org's mappings make of claims (hook `roles_of_claims`); roles that are gone give nothing."""
    return mapped(mappings(org_id), source, claims).roles & known_roles(org_id)


def held_by(role: Role) -> tuple[int, int]:
    """How many members and working keys of the org hold a role. Roles are JSON lists, which SQLite cannot search."""
    members = [member.held_roles for member in Membership.objects.for_org(role.org_id)]
    keys = ApiKey.objects.for_org(role.org_id).filter(revoked_at=None).values_list("roles", flat=True)
    return sum(role.name in held for held in members), sum(role.name in held for held in keys)


def holders_of(org_id: Any, right: Right) -> tuple[str, ...]:
    """The e-mails of members who hold `right` in the org."""
    members = Membership.objects.for_org(org_id).filter(user__is_active=True).select_related("user")
    return tuple(sorted(item.user.email for item in members if right in rights_of(str(org_id), item.held_roles)))
