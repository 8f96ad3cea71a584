"""Decisions told to people: the reason, the rule, what would be needed and who can change it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mcphub.accounts.models import Org
from mcphub.accounts.roles import Right
from mcphub.core.principal import NO_ATTRIBUTES, Principal
from policies import selectors
from policies.engine import RuleSet, Switches, decide, gate, listing, set_by_operator
from policies.facts import principal_facts, request_for
from policies.index import Entry
from policies.reasons import CHANGED_WITH, NEEDED, Why
from policies.service import compile_org
from policies.tracing import reads_arguments, trace
from policies.types import CallRequest, Decision, Kind, Listing, Target, TraceLine
from upstreams.models import Definition, Upstream
from upstreams.shaping import Shape


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision for people. `rule_name` is what they call the rule, "" for the default; `why` is of a closed list.

    `trace` are the lines that speak of the target, down to the one that decides; `listed` whether the
    principal sees it at all. `open_arguments`: none were given and the outcome may depend on them.
    `needed` says what would let the call through, "" when it goes through; `opened_for` are roles that could call
    it as things stand; `changeable_by` the people who can change the outcome, and `right` what makes them so.
    `arguments` are the effective ones, as far as any were given.
    """

    target: Target
    effect: str
    why: Why
    rule: str
    rule_name: str
    reason: str
    trace: tuple[TraceLine, ...]
    listed: bool
    open_arguments: bool
    needed: str
    opened_for: tuple[str, ...]
    right: Right
    changeable_by: tuple[str, ...]
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about: the target, the switches that gates look at, and what an operator makes of its calls."""

    target: Target
    switches: Switches
    shape: Shape | None = None


class UnknownTool(LookupError):
    """Nothing of that name is offered to this principal; the message lists what was meant, if unclear."""


def explain(
    org: Org, principal: Principal, name: str, arguments: Mapping[str, Any] | None = None, kind: Kind = "tool"
) -> Explanation:
    """The decision for one call, the rule behind it, and who can change it. Raises `UnknownTool`.

    `name` is a public name (`time__now`), `time/now`, or an original name that only one upstream has; of a resource
    the URI. `arguments` are a client's; what an operator sets is applied to them.
    """
    return explain_subject(org, principal, _subject(org, _definition(org, principal, name, kind)), arguments)


def explain_subject(
    org: Org, principal: Principal, subject: Subject, arguments: Mapping[str, Any] | None = None
) -> Explanation:
    """The same for something that need not be offered any longer."""
    ruleset = compile_org(org.pk).ruleset
    given, refused = _effective(subject.shape, arguments or {})
    request = request_for(principal, subject.target, facts=principal_facts(principal), arguments=lambda: given)
    closed = gate(subject.target, principal.scope, subject.switches)
    decision = closed or (set_by_operator(refused) if refused else decide(ruleset, request))
    entry = next((each for each in ruleset.entries if each.id == decision.rule), None)
    why = reason_of(decision, entry)
    looked_up = closed is None and not refused
    return Explanation(
        target=subject.target,
        effect=decision.effect,
        why=why,
        rule=decision.rule,
        rule_name=entry.name if entry else decision.rule,
        reason=decision.reason,
        trace=trace(ruleset, request) if looked_up else (),
        listed=closed is None and listing(ruleset, request) == Listing.SHOWN,
        open_arguments=looked_up and arguments is None and reads_arguments(ruleset, request),
        needed=NEEDED[why],
        opened_for=() if closed else _opened_for(ruleset, request, org),
        right=CHANGED_WITH[why],
        changeable_by=selectors.holders_of(org.pk, CHANGED_WITH[why]),
        arguments=given,
    )


def reason_of(decision: Decision, entry: Entry | None) -> Why:
    """The reason on the closed list; `entry` is the line behind the decision, None for gates and the default."""
    if decision.rule.startswith("gate:"):
        return Why(decision.rule.removeprefix("gate:"))
    if decision.effect != "allow" and any(line.failure and (line.matched or not entry) for line in decision.trace):
        return Why.CANNOT_EVALUATE
    if entry is None:
        return Why.NOTHING_ALLOWS
    if entry.unreadable:
        return Why.CANNOT_READ
    if decision.effect == "allow":
        return Why.GRANT_ALLOWS if entry.source == "grant" else Why.RULE_ALLOWS
    return Why.RULE_ASKS if decision.effect == "ask" else Why.RULE_DENIES


def _effective(shape: Shape | None, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The arguments that the upstream would get, and one that the client may not choose."""
    if shape is None or not shape.changes_arguments:
        return dict(given), ""
    refused = shape.refused(given)
    return (dict(given), refused) if refused else ({**shape.filled(given), **shape.fixed}, "")


def recorded_subject(org: Org, kind: Kind, upstream: str, name: str) -> Subject | None:
    """What a call on record was to, as it is now; None when nothing of that name was ever seen there.

    The recorded arguments are effective already, so no shape is applied to them again.
    """
    rows = Definition.objects.for_org(org).filter(kind=kind, name=name, upstream__slug=upstream)
    row = rows.select_related("upstream", "current").first()
    if row is not None:
        return replace(_subject(org, row), shape=None)
    found = Upstream.objects.for_org(org).filter(slug=upstream).first()
    if found is None or kind not in ("resource", "template"):
        return None
    return Subject(Target(kind, upstream, name, selectors.URI_RISK), Switches(org.enabled, found.enabled))


def _subject(org: Org, row: Definition) -> Subject:
    switches = Switches(org.enabled, row.upstream.enabled, row.enabled, row.held)
    return Subject(selectors.target_of(row), switches, row.shape)


def _definition(org: Org, principal: Principal, name: str, kind: Kind) -> Definition:
    offered = Definition.objects.for_org(org).filter(kind=kind, entries__holder__in=("", principal.id)).distinct()
    rows = list(offered.select_related("upstream", "current"))
    found = [row for row in rows if name in (row.public_name, f"{row.upstream.slug}/{row.name}")]
    found = found or [row for row in rows if name in (row.name, row.alias)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownTool(f"{principal.label} is offered no {kind} {name!r} in {org.slug}")
    names = ", ".join(sorted(row.public_name for row in found))
    raise UnknownTool(f"{name!r} is the name of several {kind}s: {names}")


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
