"""What is wrong with a rule, and what is odd about it among others. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from policies.cel_source import BadCondition
from policies.compiler import Problem, order, rule_entry
from policies.conditions import compile_condition
from policies.index import Entry
from policies.types import Rule, Target

MAX_GLOBS: Final = 200
MAX_GLOB_CHARS: Final = 1_024
_GLOB_FIELDS: Final = ("roles", "upstreams", "tools", "applications")


def rule_problems(rule: Rule) -> list[Problem]:
    """Why this rule cannot be saved; empty when it can."""
    problems = [problem for name in _GLOB_FIELDS for problem in _glob_problems(rule, name)]
    if not rule.kinds:
        problems.append(Problem(rule.id, "kinds", "Choose at least one kind."))
    if rule.condition.strip():
        try:
            compile_condition(rule.condition)
        except BadCondition as error:
            problems.append(Problem(rule.id, "condition", _with_place(rule.condition, error), error.at))
    return problems


def _glob_problems(rule: Rule, name: str) -> Iterable[Problem]:
    globs: tuple[str, ...] = getattr(rule, name)
    if len(globs) > MAX_GLOBS:
        yield Problem(rule.id, name, f"At most {MAX_GLOBS} entries.")
    for glob in globs:
        if not glob.strip() or len(glob) > MAX_GLOB_CHARS:
            yield Problem(rule.id, name, f"{glob[:40]!r} is empty or longer than {MAX_GLOB_CHARS} characters.")


def _with_place(source: str, error: BadCondition) -> str:
    text = str(error)
    if error.at is None:
        return f"{text[:1].upper()}{text[1:]}."
    line = source.count("\n", 0, error.at) + 1
    column = error.at - (source.rfind("\n", 0, error.at) + 1) + 1
    return f"Line {line}, column {column}: {text}."


def touched(rule: Rule, targets: Iterable[Target]) -> list[Target]:
    """The targets that a rule speaks of, whoever calls and whatever its condition says."""
    entry = rule_entry(replace(rule, condition=""), [])
    return [target for target in targets if entry is not None and entry.matches_target(target)]


def rule_warnings(rule: Rule, others: Sequence[Rule], targets: Sequence[Target], roles: Iterable[str]) -> list[str]:
    """Why a rule that may be saved will never decide anything, as sentences.

    `others` are the org's rules (an older state of the same rule among them is ignored), `targets` its
    catalogue, `roles` the names of its roles.
    """
    entry = rule_entry(rule, [])
    if entry is None or not rule.enabled:
        return []
    return [*_never_matching(entry, targets, roles), *_shadowed(rule, entry, others, targets)]


def _never_matching(entry: Entry, targets: Sequence[Target], roles: Iterable[str]) -> list[str]:
    warnings = []
    if not entry.roles.any and not any(entry.roles.match(role) for role in roles):
        warnings.append("It can never match: no role has such a name.")
    if not any(entry.matches_target(target) for target in targets):
        warnings.append("It matches nothing that an upstream offers now.")
    return warnings


def _shadowed(rule: Rule, entry: Entry, others: Sequence[Rule], targets: Sequence[Target]) -> list[str]:
    """Whether unconditional rules before this one decide everything that it speaks of."""
    before = [one for one in others if one.id != rule.id and one.enabled and order(one) < order(rule)]
    covering = [
        earlier
        for one in sorted(before, key=order)
        if (earlier := rule_entry(one, [])) is not None
        and earlier.condition is None
        and earlier.roles.covers(entry.roles)
        and earlier.applications.covers(entry.applications)
    ]
    for earlier in covering:
        if _covers(earlier, entry):
            return [f"It is shadowed: rule {earlier.name!r} comes first and decides all that it speaks of."]
    spoken_of = [target for target in targets if entry.matches_target(target)]
    if covering and spoken_of and all(any(one.matches_target(target) for one in covering) for target in spoken_of):
        return ["It is shadowed: rules before it decide everything that it matches now."]
    return []


def _covers(earlier: Entry, entry: Entry) -> bool:
    return (
        earlier.kinds >= entry.kinds
        and earlier.risks >= entry.risks
        and earlier.upstreams.covers(entry.upstreams)
        and earlier.tools.covers(entry.tools)
    )
