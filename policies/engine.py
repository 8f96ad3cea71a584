"""Who may call what: one ordered list, read the same way for calls and for lists. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from msgspec import structs

from mcphub.core.limits import Limits
from mcphub.core.principal import KeyScope
from policies.conditions import Evaluation, Failure, read_paths
from policies.globs import Globs
from policies.index import Entry, Index
from policies.types import CallRequest, Decision, Listing, Risk, Target, TraceLine

MAX_PLANS: Final = 50_000
MAX_TOLD: Final = 3
DEFAULT_LIMITS: Final = Limits()

_PlanKey = tuple[frozenset[str], str, str, str, str, Risk]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to decide for one caller and target: conditions in order, then the outcome without any."""

    conditional: tuple[Entry, ...]
    final: Decision


@dataclass(frozen=True, slots=True, eq=False)
class RuleSet:
    """The policy of one org at one config version. Immutable but for its memory of plans."""

    entries: tuple[Entry, ...]
    limits: Limits = DEFAULT_LIMITS
    index: Index = field(init=False, repr=False)
    attributes: frozenset[tuple[str, ...]] = field(init=False)
    reads_client: bool = field(init=False)
    plans: dict[_PlanKey, Plan] = field(init=False, repr=False, default_factory=dict)
    shared: dict[Plan, Plan] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", Index(self.entries))
        object.__setattr__(self, "attributes", _attributes(self.entries))
        conditions = (entry.condition for entry in self.entries)
        object.__setattr__(self, "reads_client", any(one is not None and one.reads_client for one in conditions))

    def plan(self, request: CallRequest) -> Plan:
        """The plan for a request, remembered; names chosen by clients (URIs) cannot make the memory grow on."""
        target = request.target
        key = (request.roles, request.application, target.kind, target.upstream, target.name, target.risk)
        plan = self.plans.get(key)
        if plan is None:
            if len(self.plans) >= MAX_PLANS:
                self.plans.clear()
                self.shared.clear()
            made = self.make_plan(request)
            plan = self.plans[key] = self.shared.setdefault(made, made)
        return plan

    def make_plan(self, request: CallRequest) -> Plan:
        """The plan without the memory: walks the few entries that can speak of this call."""
        conditional: list[Entry] = []
        for entry in self.index.candidates(request.roles, request.application, request.target):
            if entry.condition is None:
                return Plan(tuple(conditional), Decision(entry.effect, entry.id, entry.reason))
            conditional.append(entry)
        return Plan(tuple(conditional), Decision("deny", "", default_reason(request)))


def default_reason(request: CallRequest) -> str:
    """Why nothing opened the target, in terms of what the caller has."""
    target = request.target
    roles = ", ".join(sorted(request.roles)) or "none"
    return f"no rule or grant allows {target.risk} {target.kind}s of {target.upstream} here (roles: {roles})"


def decide(ruleset: RuleSet, request: CallRequest) -> Decision:
    """The outcome for exactly this call. The trace names the conditions that held or could not be evaluated."""
    plan = ruleset.plan(request)
    if not plan.conditional:
        return plan.final
    evaluation = Evaluation(request, ruleset.limits)
    trace: list[TraceLine] = []
    for entry in plan.conditional:
        line = judge(entry, evaluation, request)
        if line.matched:
            reason = f"{entry.reason} ({line.why})" if line.failure else entry.reason
            return Decision(entry.effect, entry.id, reason, (*trace, line))
        if line.failure:
            trace.append(line)
    return _after(plan.final, trace) if trace else plan.final


def _after(final: Decision, trace: list[TraceLine]) -> Decision:
    """The outcome behind allows that could not be evaluated; a denial says so."""
    missed = "".join(f"; {line.name}: {line.why}" for line in trace[:MAX_TOLD]) if final.effect == "deny" else ""
    return replace(final, reason=f"{final.reason}{missed}", trace=tuple(trace))


UNTRUE: Final = "its condition is not true"


def judge(entry: Entry, evaluation: Evaluation, request: CallRequest) -> TraceLine:
    """Whether a conditional entry that speaks of this call decides it; a failure counts against the caller."""
    if entry.condition is None:
        return TraceLine(entry.id, entry.name, True, "it has no condition")
    verdict = evaluation.holds(entry.condition, request)
    if isinstance(verdict, Failure):
        against = entry.effect != "allow"
        held = "counts as true" if against else "counts as false"
        why = f"its condition cannot be evaluated ({verdict.why}) and {held}"
        return TraceLine(entry.id, entry.name, against, why, verdict.why)
    return TraceLine(entry.id, entry.name, verdict, "its condition is true" if verdict else UNTRUE)


def listing(ruleset: RuleSet, request: CallRequest) -> Listing:
    """Whether the target may be shown: an allow or ask can be reached before a deny that holds for all arguments."""
    return next(listings(ruleset, request, (request.target,)))


def listings(ruleset: RuleSet, caller: CallRequest, targets: Iterable[Target]) -> Iterator[Listing]:
    """`listing` for many targets of one caller, whose values are converted once; `caller.target` is not used."""
    evaluation = Evaluation(caller, ruleset.limits)
    for target in targets:
        yield _listed(ruleset, evaluation, structs.replace(caller, target=target))


def _listed(ruleset: RuleSet, evaluation: Evaluation, request: CallRequest) -> Listing:
    plan = ruleset.plan(request)
    for entry in plan.conditional:
        if entry.condition is not None and entry.condition.reads_arguments:
            if entry.effect != "deny":
                return Listing.SHOWN
        elif judge(entry, evaluation, request).matched:
            return _listing_of(entry.effect)
    return _listing_of(plan.final.effect)


def _listing_of(effect: str) -> Listing:
    return Listing.HIDDEN if effect == "deny" else Listing.SHOWN


def attributes_read(ruleset: RuleSet) -> frozenset[tuple[str, ...]]:
    """The paths of principal and client that any list depends on, such as `("principal", "attributes", "team")`."""
    return ruleset.attributes


def _attributes(entries: Iterable[Entry]) -> frozenset[tuple[str, ...]]:
    """Conditions on arguments are "maybe" in lists whatever else they read, so they add nothing."""
    conditions = (entry.condition for entry in entries)
    return frozenset(path for one in conditions if one is not None and not one.reads_arguments for path in one.paths)


def view_facts(paths: frozenset[tuple[str, ...]], request: CallRequest) -> str:
    """What these paths hold for this caller, as text: equal text, equal lists (part of the view key)."""
    return read_paths(paths, request) if paths else ""


class Gate(StrEnum):
    """What no rule opens, in the order in which it is looked at."""

    ORG_DISABLED = "org_disabled"
    UPSTREAM_DISABLED = "upstream_disabled"
    DEFINITION_DISABLED = "definition_disabled"
    HELD = "held"
    OUT_OF_SCOPE = "out_of_scope"
    RATE_LIMITED = "rate_limited"
    SET_BY_OPERATOR = "set_by_operator"


GATE_REASONS: Final = {
    Gate.ORG_DISABLED: "the org is disabled",
    Gate.UPSTREAM_DISABLED: "the upstream is disabled",
    Gate.DEFINITION_DISABLED: "an operator switched this off",
    Gate.HELD: "its definition changed and waits for approval",
    Gate.OUT_OF_SCOPE: "the key is not scoped to this",
    Gate.RATE_LIMITED: "there were too many calls",
    Gate.SET_BY_OPERATOR: "an argument is set by an operator",
}


@dataclass(frozen=True, slots=True)
class Switches:
    """The state that gates look at."""

    org_enabled: bool = True
    upstream_enabled: bool = True
    definition_enabled: bool = True
    held: bool = False


OPEN: Final = Switches()


def gate(target: Target, scope: KeyScope, switches: Switches = OPEN) -> Decision | None:
    """The denial of the first closed gate, with rule `gate:<name>`; None when all are open."""
    closed = _closed(target, scope, switches)
    return None if closed is None else Decision("deny", f"gate:{closed}", GATE_REASONS[closed])


def rate_limited(told: str) -> Decision:
    """The denial of a call too many."""
    return Decision("deny", f"gate:{Gate.RATE_LIMITED}", told)


def set_by_operator(argument: str) -> Decision:
    """The denial of a call that gives an argument which clients do not choose."""
    reason = f"the argument {argument!r} is set by an operator, leave it out"
    return Decision("deny", f"gate:{Gate.SET_BY_OPERATOR}", reason)


def _closed(target: Target, scope: KeyScope, switches: Switches) -> Gate | None:
    if not switches.org_enabled:
        return Gate.ORG_DISABLED
    if not switches.upstream_enabled:
        return Gate.UPSTREAM_DISABLED
    if not switches.definition_enabled:
        return Gate.DEFINITION_DISABLED
    if switches.held:
        return Gate.HELD
    return None if in_scope(target, scope) else Gate.OUT_OF_SCOPE


def in_scope(target: Target, scope: KeyScope) -> bool:
    """Whether a key narrowed to `scope` reaches the target; `tools` globs hold for names and URIs of every kind."""
    if not scope.upstreams and not scope.tools:
        return True
    return Globs.of(scope.upstreams).match(target.upstream) and Globs.of(scope.tools).match(target.name)
