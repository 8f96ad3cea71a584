"""From what operators wrote to one ordered list that decides. Pure; collects every problem, never raises."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mcphub.core.limits import Limits
from policies.cel_source import BadCondition
from policies.conditions import Condition, compile_condition
from policies.engine import DEFAULT_LIMITS, RuleSet
from policies.globs import Globs
from policies.index import NO_SWITCHES, Entry
from policies.types import KINDS, Effect, Grant, Kind, Risk, RoleSpec, Rule

ANY_RISK: Final = frozenset(Risk)
ANY_KIND: Final = frozenset(KINDS)
NOTHING: Final[frozenset[Risk]] = frozenset()
ANYTHING: Final = Globs.of(())
RISKS_OF: Final[Mapping[str, frozenset[Risk]]] = {
    "none": NOTHING,
    "custom": NOTHING,
    "read-only": frozenset({Risk.READ}),
    "all": ANY_RISK,
}
_ORDER: Final[Mapping[Effect, int]] = {"deny": 0, "ask": 1, "allow": 2}
_VERBS: Final[Mapping[Effect, str]] = {"allow": "allows", "deny": "denies", "ask": "asks a person about"}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one rule, and what the hub does instead. `at` is an offset in the condition, where known."""

    rule: str
    field: str
    text: str
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """The list that decides, and what could not be understood on the way."""

    ruleset: RuleSet
    problems: tuple[Problem, ...] = ()


def compile_policy(
    roles: Sequence[RoleSpec], grants: Sequence[Grant], rules: Sequence[Rule], limits: Limits = DEFAULT_LIMITS
) -> Compiled:
    """Order the enabled rules, append what the grants open, and index the whole.

    Rules come by priority; of equal priority deny comes first, then ask, then the name decides. A rule whose
    condition does not compile counts against the caller: an allow is left out, a deny or ask always holds.
    """
    problems: list[Problem] = []
    entries: list[Entry] = []
    for rule in sorted(filter(_enabled, rules), key=order):
        entry = rule_entry(rule, problems)
        if entry is not None:
            entries.append(entry)
    entries.extend(_grant_entries(roles, grants))
    return Compiled(RuleSet(tuple(entries), limits), tuple(problems))


def order(rule: Rule) -> tuple[int, int, str, str]:
    """The place of a rule among others."""
    return rule.priority, _ORDER[rule.effect], rule.name, rule.id


def _enabled(rule: Rule) -> bool:
    return rule.enabled


def rule_entry(rule: Rule, problems: list[Problem]) -> Entry | None:
    """The compiled form of one rule, or None for an allow that cannot hold; appends to `problems`."""
    condition: Condition | None = None
    unreadable = False
    reason = rule.reason or f"rule {rule.name!r} {_VERBS[rule.effect]} this"
    if rule.condition.strip():
        try:
            condition = compile_condition(rule.condition)
        except BadCondition as error:
            problems.append(Problem(rule.id, "condition", str(error), error.at))
            if rule.effect == "allow":
                return None
            unreadable = True
            reason = f"{reason} (its condition cannot be read, so it always holds)"
    return Entry(
        source="rule",
        id=rule.id,
        name=rule.name,
        effect=rule.effect,
        reason=reason,
        kinds=frozenset(rule.kinds) or ANY_KIND,
        roles=Globs.of(rule.roles),
        upstreams=Globs.of(rule.upstreams),
        tools=Globs.of(rule.tools),
        risks=frozenset(rule.risks) or ANY_RISK,
        applications=Globs.of(rule.applications),
        condition=condition,
        unreadable=unreadable,
    )


def _grant_entries(roles: Sequence[RoleSpec], grants: Sequence[Grant]) -> Iterator[Entry]:
    """Only allows, so several roles add up; whatever they leave out ends at the default, deny."""
    for grant in grants:
        yield from _one_grant(grant)
    own: dict[str, set[str]] = {}
    for grant in grants:
        own.setdefault(grant.role, set()).add(grant.upstream)
    for role in roles:
        if RISKS_OF[role.auto_grant]:
            yield _opening(
                f"role:{role.name}",
                role.name,
                f"role {role.name} has {role.auto_grant} on every upstream",
                risks=RISKS_OF[role.auto_grant],
                outside=frozenset(own.get(role.name, ())),
            )


def _one_grant(grant: Grant) -> Iterator[Entry]:
    if RISKS_OF[grant.access] or any(grant.tools.values()):
        yield _opening(
            f"grant:{grant.role}/{grant.upstream}",
            grant.role,
            f"role {grant.role} has {grant.access} of {grant.upstream}",
            upstreams=Globs.literally(grant.upstream),
            risks=RISKS_OF[grant.access],
            switches=grant.tools,
        )


def _opening(
    identity: str,
    role: str,
    reason: str,
    *,
    risks: frozenset[Risk],
    upstreams: Globs = ANYTHING,
    outside: frozenset[str] = frozenset(),
    switches: Mapping[tuple[Kind, str], bool] = NO_SWITCHES,
) -> Entry:
    return Entry(
        source="grant",
        id=identity,
        name=identity,
        effect="allow",
        reason=reason,
        kinds=ANY_KIND,
        roles=Globs.literally(role),
        upstreams=upstreams,
        tools=ANYTHING,
        risks=risks,
        applications=ANYTHING,
        outside=outside,
        switches=switches,
    )
