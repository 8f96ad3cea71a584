"""What holds for every policy: against a plain re-reading of the order in DESIGN §7, and as laws."""

import fnmatch
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcphub.core.limits import Limits
from policies.compiler import order
from policies.conditions import Evaluation, compile_condition
from policies.engine import decide, listing
from policies.globs import Globs
from policies.types import CallRequest, Decision, Grant, Kind, Listing, Risk, RoleSpec, Rule, Target
from tests.policies.build import ruleset

ROLES = ("viewer", "dev", "dev-eu", "ops")
UPSTREAMS = ("git", "git-eu", "time")
NAMES = ("get", "get_all", "set", "delete_all", "x")
APPLICATIONS = ("", "cursor", "cursor-beta")
KINDS_USED: tuple[Kind, ...] = ("tool", "prompt")
ARGUMENTS: tuple[dict[str, Any], ...] = ({}, {"n": 1}, {"n": 2}, {"n": "two"}, {"n": None, "m": [1, 2]}, {"m": [3]})
CONDITIONS = (
    "",
    "true",
    "arguments.n == 1",
    "arguments.n > 1",
    "has(arguments.m)",
    "arguments.m.all(m, m < 3)",
    "principal.id == 'ann'",
    "principal.absent == 'ann'",
    "tool.name == 'get' || principal.id == 'bob'",
    "principal.id == 'ann' && arguments.n == 1",
    "client.name == 'cursor'",
    "nobody == 1",
)


def globs(texts: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    wild = st.sampled_from([*texts, "*", "ge*", "*all", "*e*", "g?t", "dev*", "git*", "*-eu", "d*-*"])
    return st.lists(wild, max_size=2).map(tuple)


def several(values: Any, least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(list(values)), min_size=least, max_size=2, unique=True).map(tuple)


rules = st.builds(
    Rule,
    id=st.integers(0, 10**9).map(str),
    name=st.sampled_from(["a", "b", "c"]),
    priority=st.integers(0, 5),
    effect=st.sampled_from(["allow", "deny", "ask"]),
    kinds=several(KINDS_USED, 1),
    roles=globs(ROLES),
    upstreams=globs(UPSTREAMS),
    tools=globs(NAMES),
    risks=several(Risk),
    applications=globs(APPLICATIONS),
    condition=st.sampled_from(CONDITIONS),
    enabled=st.sampled_from([True, True, True, False]),
)
switches = st.dictionaries(st.tuples(st.sampled_from(KINDS_USED), st.sampled_from(NAMES)), st.booleans(), max_size=3)
grants = st.builds(
    Grant,
    role=st.sampled_from(ROLES),
    upstream=st.sampled_from(UPSTREAMS),
    access=st.sampled_from(["none", "read-only", "all", "custom"]),
    tools=switches,
)
role_specs = st.builds(RoleSpec, st.sampled_from(ROLES), st.sampled_from(["none", "read-only", "all"]))
policies = st.tuples(
    st.lists(rules, max_size=6, unique_by=lambda rule: rule.id).map(tuple),
    st.lists(grants, max_size=3, unique_by=lambda grant: (grant.role, grant.upstream)).map(tuple),
    st.lists(role_specs, max_size=3, unique_by=lambda role: role.name).map(tuple),
)
Policy = tuple[tuple[Rule, ...], tuple[Grant, ...], tuple[RoleSpec, ...]]
targets = st.builds(
    Target, st.sampled_from(KINDS_USED), st.sampled_from(UPSTREAMS), st.sampled_from(NAMES), st.sampled_from(Risk)
)
requests = st.builds(
    CallRequest,
    target=targets,
    roles=st.frozensets(st.sampled_from(ROLES), max_size=2),
    application=st.sampled_from(APPLICATIONS),
    principal=st.sampled_from([{"id": "ann"}, {"id": "bob"}]),
    client=st.sampled_from([{}, {"name": "cursor"}]),
    arguments=st.sampled_from([None, *[lambda value=value: value for value in ARGUMENTS]]),
)


def compiled(policy: Policy) -> Any:
    return ruleset(*policy[0], grants=policy[1], roles=policy[2], clean=False)


def by_the_book(policy: Policy, request: CallRequest) -> tuple[str, str]:
    """Effect and rule as DESIGN §7 tells them: every rule in order, then the grants of each role."""
    for rule in sorted(policy[0], key=order):
        if rule.enabled and speaks_of(rule, request) and condition_holds(rule, request):
            return rule.effect, rule.id
    opened = [role_opens(role, policy, request.target) for role in request.roles]
    return ("allow", "") if any(opened) else ("deny", "")


def speaks_of(rule: Rule, request: CallRequest) -> bool:
    target = request.target

    def any_of(patterns: tuple[str, ...], *texts: str) -> bool:
        return not patterns or any(fnmatch.fnmatchcase(text, one) for one in patterns for text in texts)

    return (
        target.kind in rule.kinds
        and any_of(rule.upstreams, target.upstream)
        and any_of(rule.tools, target.name)
        and (not rule.risks or target.risk in rule.risks)
        and any_of(rule.applications, request.application)
        and (any_of(rule.roles, *request.roles) or "*" in rule.roles)
    )


def condition_holds(rule: Rule, request: CallRequest) -> bool:
    if not rule.condition:
        return True
    if rule.condition == "nobody == 1":
        return rule.effect != "allow"
    verdict = Evaluation(request, Limits()).holds(compile_condition(rule.condition))
    return verdict if isinstance(verdict, bool) else rule.effect != "allow"


def role_opens(role: str, policy: Policy, target: Target) -> bool:
    for grant in policy[1]:
        if (grant.role, grant.upstream) == (role, target.upstream):
            switch = grant.tools.get((target.kind, target.name))
            return switch if switch is not None else opens(grant.access, target.risk)
    return any(spec.name == role and opens(spec.auto_grant, target.risk) for spec in policy[2])


def opens(access: str, risk: Risk) -> bool:
    return access == "all" or (access == "read-only" and risk == Risk.READ)


def with_arguments(request: CallRequest, value: dict[str, Any]) -> CallRequest:
    return CallRequest(
        request.target, request.roles, request.application, request.principal, request.client, lambda: value
    )


def same(one: Decision, effect: str, rule: str) -> bool:
    granted = one.rule.startswith(("grant:", "role:"))
    return one.effect == effect and (one.rule == rule or (granted and not rule))


@settings(max_examples=400, deadline=None)
@given(policies, requests)
def test_the_index_decides_as_the_plain_order_does(policy: Policy, request: CallRequest) -> None:
    rules = compiled(policy)
    for _ in ("first look", "remembered"):
        assert same(decide(rules, request), *by_the_book(policy, request))


@pytest.mark.requirement("O7")
@settings(max_examples=400, deadline=None)
@given(policies, requests)
def test_callable_for_some_arguments_is_listed_and_hidden_is_never_callable(
    policy: Policy, request: CallRequest
) -> None:
    rules = compiled(policy)
    effects = {decide(rules, with_arguments(request, value)).effect for value in ARGUMENTS}
    if effects != {"deny"}:
        assert listing(rules, request) == Listing.SHOWN
    if listing(rules, request) == Listing.HIDDEN:
        assert effects == {"deny"}


@settings(max_examples=200, deadline=None)
@given(policies, rules, requests)
def test_adding_a_deny_never_opens_anything(policy: Policy, extra: Rule, request: CallRequest) -> None:
    deny = Rule(**{**{name: getattr(extra, name) for name in extra.__slots__}, "effect": "deny", "id": "extra"})
    before, after = compiled(policy), compiled(((*policy[0], deny), *policy[1:]))
    assert decide(after, request).effect in ("deny", decide(before, request).effect)
    if listing(before, request) == Listing.HIDDEN:
        assert listing(after, request) == Listing.HIDDEN


@settings(max_examples=200, deadline=None)
@given(policies, requests)
def test_order_alone_decides_not_how_the_rules_were_given(policy: Policy, request: CallRequest) -> None:
    backwards = (policy[0][::-1], policy[1][::-1], policy[2][::-1])
    assert decide(compiled(policy), request).effect == decide(compiled(backwards), request).effect


@pytest.mark.requirement("O2")
@settings(max_examples=200, deadline=None)
@given(grants, targets, st.booleans())
def test_an_explicit_switch_beats_the_category(grant: Grant, target: Target, on: bool) -> None:
    switched = Grant(grant.role, target.upstream, grant.access, {**grant.tools, (target.kind, target.name): on})
    rules = ruleset(grants=(switched,), roles=(RoleSpec(grant.role, "all"),))
    request = CallRequest(target, frozenset({grant.role}))
    assert decide(rules, request).effect == ("allow" if on else "deny")


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?", max_size=6), st.text("ab*?", max_size=6), st.text("ab*?", max_size=8))
@example("?*", "*", "")
def test_globs_match_and_cover_soundly(one: str, other: str, text: str) -> None:
    literal = text.replace("*", "x").replace("?", "y")
    assert Globs((one,)).match(literal) == fnmatch.fnmatchcase(literal, one)
    if Globs((one,)).covers(Globs((other,))) and fnmatch.fnmatchcase(literal, other):
        assert fnmatch.fnmatchcase(literal, one)


def test_globs_are_linear() -> None:
    pattern, text = "*a" * 30 + "*b", "a" * 100_000
    assert not Globs((pattern,)).match(text)
    assert not Globs((pattern + "?c",)).match(text)
