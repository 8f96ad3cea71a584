"""Policy as the rest of the hub uses it: compiled for the snapshot, reviewed before it is saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from policies import selectors
from policies.comparing import Draft
from policies.compiler import Compiled, compile_policy
from policies.emptying import emptied_roles
from policies.models import Role
from policies.types import Rule, Target
from policies.validation import rule_warnings, touched


@dataclass(frozen=True, slots=True)
class Review:
    """What one rule speaks of among the `offered` definitions, and why it may never decide anything."""

    touched: tuple[Target, ...]
    offered: int
    warnings: tuple[str, ...]


def compile_org(org_id: Any) -> Compiled:
    """Read and compile the policy of one org. Blocks on the database: call it in a thread from the loop."""
    return compile_policy(
        selectors.role_specs(org_id), selectors.grants(org_id), selectors.rules(org_id), settings.HUB.limits
    )


def review_rule(org_id: Any, rule: Rule) -> Review:
    """What a rule, saved or not, would speak of in its org as it is now."""
    offered = selectors.targets(org_id)
    rules = selectors.rules(org_id)
    names = [spec.name for spec in selectors.role_specs(org_id)]
    emptied = _emptied(org_id, rule, rules, offered, names)
    return Review(
        tuple(sorted(touched(rule, offered), key=lambda target: (target.kind, target.upstream, target.name))),
        len(offered),
        (
            *rule_warnings(rule, rules, offered, names),
            *(f"It leaves the role {name} with nothing." for name in emptied),
        ),
    )


def _emptied(
    org_id: Any, rule: Rule, rules: Sequence[Rule], offered: Sequence[Target], names: Sequence[str]
) -> list[str]:
    if rule.effect != "deny":
        return []
    roles, grants = selectors.role_specs(org_id), selectors.grants(org_id)
    others = Draft(remove=frozenset({rule.name})).applied(one for one in rules if one.id != rule.id)
    before = compile_policy(roles, grants, others, settings.HUB.limits).ruleset
    after = compile_policy(roles, grants, [*others, rule], settings.HUB.limits).ruleset
    return emptied_roles(rule, before, after, offered, names)


def make_builtin_roles(org_id: Any) -> None:
    """Give an org the rows of its built-in roles (hook `on_org_created`)."""
    for spec in selectors.BUILT_IN:
        Role.objects.get_or_create(
            org_id=org_id, name=spec.name, defaults={"builtin": True, "auto_grant": spec.auto_grant}
        )
