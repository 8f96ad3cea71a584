"""Policy as the rest of the hub uses it: compiled for the snapshot, explained to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from mcphub.accounts.models import Org
from mcphub.accounts.roles import Right
from mcphub.core.principal import NO_ATTRIBUTES, Principal
from policies import selectors
from policies.compiler import Compiled, compile_policy
from policies.engine import RuleSet, Switches, decide, gate, listing
from policies.facts import principal_facts, request_for
from policies.models import Role
from policies.tracing import reads_arguments, trace
from policies.types import CallRequest, Decision, Listing, Rule, Target, TraceLine
from policies.validation import rule_warnings, touched
from upstreams.models import Definition

_WHO_OPENS: Final[Mapping[str, Right]] = {
    "gate:org_disabled": Right.MANAGE_ORG,
    "gate:upstream_disabled": Right.MANAGE_UPSTREAMS,
    "gate:definition_disabled": Right.MANAGE_UPSTREAMS,
    "gate:held": Right.MANAGE_UPSTREAMS,
    "gate:out_of_scope": Right.MANAGE_KEYS,
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision for people. `rule_name` is what they call the rule, "" for the default.

    `trace` are the lines that speak of the target, down to the one that decides; `listed` whether the
    principal sees it at all. `open_arguments`: none were given and the outcome may depend on them.
    `opened_for` are roles that could call it as things stand; `changeable_by` the people who can change the
    outcome, and `right` what makes them so.
    """

    target: Target
    effect: str
    rule: str
    rule_name: str
    reason: str
    trace: tuple[TraceLine, ...]
    listed: bool
    open_arguments: bool
    opened_for: tuple[str, ...]
    right: Right
    changeable_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """What one rule speaks of among the `offered` definitions, and why it may never decide anything."""

    touched: tuple[Target, ...]
    offered: int
    warnings: tuple[str, ...]


class UnknownTool(LookupError):
    """No tool of that name is offered to this principal; the message lists what was meant, if unclear."""


def compile_org(org_id: Any) -> Compiled:
    """Read and compile the policy of one org. Blocks on the database: call it in a thread from the loop."""
    return compile_policy(
        selectors.role_specs(org_id), selectors.grants(org_id), selectors.rules(org_id), settings.HUB.limits
    )


def review_rule(org_id: Any, rule: Rule) -> Review:
    """What a rule, saved or not, would speak of in its org as it is now."""
    offered = selectors.targets(org_id)
    names = [spec.name for spec in selectors.role_specs(org_id)]
    return Review(
        tuple(sorted(touched(rule, offered), key=lambda target: (target.kind, target.upstream, target.name))),
        len(offered),
        tuple(rule_warnings(rule, selectors.rules(org_id), offered, names)),
    )


def make_builtin_roles(org_id: Any) -> None:
    """Give an org the rows of its built-in roles (hook `on_org_created`)."""
    for spec in selectors.BUILT_IN:
        Role.objects.get_or_create(
            org_id=org_id, name=spec.name, defaults={"builtin": True, "auto_grant": spec.auto_grant}
        )


def explain(org: Org, principal: Principal, tool: str, arguments: Mapping[str, Any] | None = None) -> Explanation:
    """The decision for one call, the rule behind it, and who can change it. Raises `UnknownTool`.

    `tool` is a public name (`time__now`), `time/now`, or an original name that only one upstream has.
    """
    row = _definition(org, principal, tool)
    target = selectors.target_of(row)
    ruleset = compile_org(org.pk).ruleset
    given = dict(arguments or {})
    request = request_for(principal, target, facts=principal_facts(principal), arguments=lambda: given)
    closed = gate(target, principal.scope, _switches(org, row))
    decision = closed or decide(ruleset, request)
    right = _WHO_OPENS.get(decision.rule, Right.MANAGE_POLICY)
    return Explanation(
        target=target,
        effect=decision.effect,
        rule=decision.rule,
        rule_name=_rule_name(ruleset, decision),
        reason=decision.reason,
        trace=() if closed else trace(ruleset, request),
        listed=closed is None and listing(ruleset, request) == Listing.SHOWN,
        open_arguments=closed is None and arguments is None and reads_arguments(ruleset, request),
        opened_for=() if closed else _opened_for(ruleset, request, org),
        right=right,
        changeable_by=selectors.holders_of(org.pk, right),
    )


def _definition(org: Org, principal: Principal, tool: str) -> Definition:
    offered = Definition.objects.for_org(org).filter(kind="tool", entries__holder__in=("", principal.id)).distinct()
    rows = list(offered.select_related("upstream", "current"))
    found = [row for row in rows if tool in (row.public_name, f"{row.upstream.slug}/{row.name}")]
    found = found or [row for row in rows if row.name == tool]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownTool(f"{principal.label} is offered no tool {tool!r} in {org.slug}")
    names = ", ".join(sorted(row.public_name for row in found))
    raise UnknownTool(f"{tool!r} is the name of several tools: {names}")


def _switches(org: Org, row: Definition) -> Switches:
    return Switches(org.enabled, row.upstream.enabled, row.enabled, row.held)


def _rule_name(ruleset: RuleSet, decision: Decision) -> str:
    return next((entry.name for entry in ruleset.entries if entry.id == decision.rule), decision.rule)


def _opened_for(ruleset: RuleSet, request: CallRequest, org: Org) -> tuple[str, ...]:
    """The roles that, held alone, could call the target for some arguments."""

    def could(role: str) -> bool:
        alone = CallRequest(
            request.target,
            frozenset({role}),
            request.application,
            {**request.principal, "roles": [role]},
            NO_ATTRIBUTES,
        )
        return listing(ruleset, alone) == Listing.SHOWN

    return tuple(sorted(spec.name for spec in selectors.role_specs(org.pk) if could(spec.name)))
