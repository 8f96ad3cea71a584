"""Rows of (policy, call, decision): the order of DESIGN §7, one line each."""

from types import MappingProxyType
from typing import Any

import pytest

from mcphub.core.principal import KeyScope
from policies import engine
from policies.compiler import Problem, compile_policy, rule_entry
from policies.engine import (
    Switches,
    attributes_read,
    decide,
    gate,
    listing,
    listings,
    rate_limited,
    set_by_operator,
    view_facts,
)
from policies.types import KINDS, Decision, Grant, Listing, Risk, RoleSpec, Rule
from tests.policies.build import call, rule, ruleset, target

ALLOW = rule("allow", priority=500)
READ, WRITE, DESTRUCTIVE = Risk.READ, Risk.WRITE, Risk.DESTRUCTIVE


def effect_of(rules: list[Rule], *args: Any, **kwargs: Any) -> str:
    return decide(ruleset(*rules), call(*args, **kwargs)).effect


@pytest.mark.requirement("O3")
@pytest.mark.parametrize(
    ("rules", "path", "effect"),
    [
        ([], "time/get_time", "deny"),
        ([ALLOW], "time/get_time", "allow"),
        ([ALLOW, rule("deny", priority=1)], "time/get_time", "deny"),
        ([ALLOW, rule("deny", priority=900)], "time/get_time", "allow"),
        ([ALLOW, rule("ask", priority=1)], "time/get_time", "ask"),
        ([rule("allow", id="a", priority=7), rule("deny", id="z", priority=7)], "time/get_time", "deny"),
        ([rule("allow", id="a", priority=7), rule("ask", id="z", priority=7)], "time/get_time", "ask"),
        ([ALLOW, rule("deny", priority=1, enabled=False)], "time/get_time", "allow"),
        ([ALLOW, rule("deny", priority=1, upstreams=("time",))], "time/get_time", "deny"),
        ([ALLOW, rule("deny", priority=1, upstreams=("time",))], "timer/get_time", "allow"),
        ([ALLOW, rule("deny", priority=1, upstreams=("git-*",))], "git-main/push", "deny"),
        ([ALLOW, rule("deny", priority=1, upstreams=("git-*", "time"))], "time/x", "deny"),
        ([ALLOW, rule("deny", priority=1, tools=("delete_*",))], "files/delete_all", "deny"),
        ([ALLOW, rule("deny", priority=1, tools=("delete_*",))], "files/undelete_all", "allow"),
        ([ALLOW, rule("deny", priority=1, tools=("*_all",))], "files/delete_all", "deny"),
        ([ALLOW, rule("deny", priority=1, tools=("*delete*",))], "files/undelete_all", "deny"),
        ([ALLOW, rule("deny", priority=1, tools=("get_?",))], "files/get_x", "deny"),
        ([ALLOW, rule("deny", priority=1, tools=("get_?",))], "files/get_xy", "allow"),
        ([ALLOW, rule("deny", priority=1, tools=("DELETE",))], "files/delete", "allow"),
        ([ALLOW, rule("deny", priority=1, tools=("a[bc]",))], "files/ab", "allow"),
        ([ALLOW, rule("deny", priority=1, tools=("a[bc]",))], "files/a[bc]", "deny"),
        ([ALLOW, rule("deny", priority=1, tools=("a", "b*", "c"))], "files/c", "deny"),
    ],
)
def test_first_matching_rule_decides(rules: list[Rule], path: str, effect: str) -> None:
    assert effect_of(rules, path) == effect


@pytest.mark.requirement("O4")
@pytest.mark.parametrize(("risk", "effect"), [(READ, "allow"), (WRITE, "deny"), (DESTRUCTIVE, "deny")])
def test_rule_matches_by_risk(risk: Risk, effect: str) -> None:
    assert effect_of([rule("allow", risks=(READ,))], risk=risk) == effect


@pytest.mark.requirement("O5")
@pytest.mark.parametrize(("application", "effect"), [("cursor", "allow"), ("cursor-nightly", "allow"), ("", "deny")])
def test_rule_matches_by_application(application: str, effect: str) -> None:
    assert effect_of([rule("allow", applications=("cursor*",))], application=application) == effect


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(
    ("roles", "effect"),
    [
        ((), "deny"),
        (("viewer",), "deny"),
        (("viewer", "ops"), "allow"),
        (("ops-eu",), "deny"),
        (("dev-eu",), "allow"),
    ],
)
def test_any_role_of_the_principal_counts(roles: tuple[str, ...], effect: str) -> None:
    assert effect_of([rule("allow", roles=("ops", "dev-*"))], "time/x", *roles) == effect


def test_rules_speak_of_tools_unless_they_say_otherwise() -> None:
    assert effect_of([ALLOW], "memory/notes", kind="prompt") == "deny"
    assert effect_of([rule("allow", kinds=("prompt", "resource"))], "memory/notes", kind="prompt") == "allow"
    opened = [rule("allow", kinds=("resource",), tools=("file:///srv/*",))]
    assert effect_of(opened, "files/file:///srv/a/b,c", kind="resource") == "allow"
    assert effect_of(opened, "files/file:///etc/passwd", kind="resource") == "deny"


def test_default_deny_says_that_nothing_matched_and_for_whom() -> None:
    decision = decide(ruleset(), call("time/set_time", "viewer", risk=WRITE))
    assert (decision.effect, decision.rule) == ("deny", "")
    assert "no rule or grant allows write tools of time" in decision.reason
    assert "viewer" in decision.reason


def test_decision_names_its_rule_and_the_authors_reason() -> None:
    decision = decide(ruleset(rule("deny", id="freeze", reason="quarter end")), call())
    assert (decision.rule, decision.reason) == ("freeze", "quarter end")


GRANTS = (
    Grant("dev", "git", "all", {("tool", "force_push"): False}),
    Grant("reader", "git", "read-only", {("tool", "tag"): True, ("tool", "log"): False}),
    Grant("picky", "git", "custom", {("tool", "log"): True, ("prompt", "review"): True}),
    Grant("none", "git", "none", {("tool", "log"): True}),
    Grant("auto", "git", "none"),
)
ROLES = (RoleSpec("auto", "all"), RoleSpec("auto-read", "read-only"), RoleSpec("dev"))


@pytest.mark.requirement("O2")
@pytest.mark.parametrize(
    ("role", "path", "risk", "kind", "effect"),
    [
        ("dev", "git/push", WRITE, "tool", "allow"),
        ("dev", "git/review", READ, "prompt", "allow"),
        ("dev", "git/force_push", DESTRUCTIVE, "tool", "deny"),
        ("dev", "git/force_push", READ, "prompt", "allow"),
        ("dev", "svn/log", READ, "tool", "deny"),
        ("reader", "git/log", READ, "tool", "deny"),
        ("reader", "git/status", READ, "tool", "allow"),
        ("reader", "git/push", WRITE, "tool", "deny"),
        ("reader", "git/tag", WRITE, "tool", "allow"),
        ("picky", "git/log", READ, "tool", "allow"),
        ("picky", "git/status", READ, "tool", "deny"),
        ("picky", "git/review", READ, "prompt", "allow"),
        ("none", "git/log", READ, "tool", "allow"),
        ("none", "git/status", READ, "tool", "deny"),
        ("auto", "git/log", READ, "tool", "deny"),
        ("auto", "svn/commit", WRITE, "tool", "allow"),
        ("auto-read", "svn/commit", WRITE, "tool", "deny"),
        ("auto-read", "git/log", READ, "tool", "allow"),
    ],
)
def test_grants(role: str, path: str, risk: Risk, kind: Any, effect: str) -> None:
    rules = ruleset(grants=GRANTS, roles=ROLES)
    request = call(path, role, risk=risk, kind=kind)
    assert decide(rules, request).effect == effect
    assert listing(rules, request) == (Listing.SHOWN if effect == "allow" else Listing.HIDDEN)


@pytest.mark.requirement("O1")
def test_of_several_roles_any_grant_wins() -> None:
    rules = ruleset(grants=GRANTS, roles=ROLES)
    assert decide(rules, call("git/force_push", "dev", risk=DESTRUCTIVE)).effect == "deny"
    assert decide(rules, call("git/log", "reader", "dev")).effect == "allow"
    assert decide(rules, call("git/log", "auto", "auto-read")).rule == "role:auto-read"


def test_rules_come_before_grants() -> None:
    rules = ruleset(rule("deny", tools=("push",)), grants=GRANTS, roles=ROLES)
    assert decide(rules, call("git/push", "dev", risk=WRITE)).effect == "deny"
    assert decide(rules, call("git/log", "dev")).rule == "grant:dev/git"


def test_a_role_or_upstream_named_with_a_wildcard_is_only_itself_in_grants() -> None:
    rules = ruleset(grants=(Grant("*", "*", "all"),))
    assert decide(rules, call("time/x", "dev")).effect == "deny"
    assert decide(rules, call("*/x", "*")).effect == "allow"


@pytest.mark.parametrize(
    ("switches", "scope", "closed"),
    [
        (Switches(), KeyScope(), None),
        (Switches(org_enabled=False), KeyScope(), "gate:org_disabled"),
        (Switches(upstream_enabled=False), KeyScope(), "gate:upstream_disabled"),
        (Switches(definition_enabled=False), KeyScope(), "gate:definition_disabled"),
        (Switches(held=True), KeyScope(), "gate:held"),
        (Switches(), KeyScope(upstreams=("time",)), None),
        (Switches(), KeyScope(upstreams=("git*", "t?me")), None),
        (Switches(), KeyScope(upstreams=("git",)), "gate:out_of_scope"),
        (Switches(), KeyScope(tools=("set_*",)), "gate:out_of_scope"),
        (Switches(), KeyScope(upstreams=("time",), tools=("get_*",)), None),
    ],
)
def test_gates(switches: Switches, scope: KeyScope, closed: str | None) -> None:
    decision = gate(target("time/get_time"), scope, switches)
    assert (None if decision is None else decision.rule) == closed
    assert decision is None or decision.effect == "deny"


@pytest.mark.requirement("O7")
@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        ([], False),
        ([ALLOW], True),
        ([rule("ask")], True),
        ([rule("allow", condition="arguments.n < 5")], True),
        ([rule("ask", condition="arguments.n < 5")], True),
        ([rule("deny", priority=1, condition="arguments.n < 5"), ALLOW], True),
        ([rule("deny", priority=1, condition="arguments.n < 5")], False),
        ([rule("deny", priority=1), rule("allow", condition="arguments.n < 5")], False),
        ([rule("deny", priority=1, condition="principal.id == 'ann'"), ALLOW], False),
        ([rule("deny", priority=1, condition="principal.id == 'bob'"), ALLOW], True),
        ([rule("deny", priority=1, condition="principal.absent == 'bob'"), ALLOW], False),
        ([rule("allow", condition="principal.id == 'ann'")], True),
        ([rule("allow", condition="principal.absent == 'ann'")], False),
        ([rule("allow", condition="tool.name.startsWith('get_')")], True),
        ([rule("allow", condition="tool.name.startsWith('set_')")], False),
        ([rule("allow", condition="client.name == 'cursor'")], False),
    ],
)
def test_lists_show_what_some_arguments_could_call(rules: list[Rule], shown: bool) -> None:
    request = call(principal={"id": "ann"})
    assert listing(ruleset(*rules), request) == (Listing.SHOWN if shown else Listing.HIDDEN)


def test_many_targets_are_listed_as_each_alone() -> None:
    rules = ruleset(rule("allow", condition="tool.name == 'b' || principal.id == 'root'"))
    caller = call(principal={"id": "ann"})
    targets = [target("time/a"), target("time/b"), target("time/c")]
    assert list(listings(rules, caller, targets)) == [Listing.HIDDEN, Listing.SHOWN, Listing.HIDDEN]


def test_lists_depend_only_on_the_attributes_that_exact_conditions_read() -> None:
    rules = ruleset(
        rule("deny", priority=1, condition="principal.attributes.team == 'red'"),
        rule("deny", priority=2, condition="principal.id == arguments.owner"),
        rule("allow", priority=3, condition="client.name != 'bad' || 'x' in principal.attributes"),
    )
    paths = attributes_read(rules)
    assert paths == {("principal", "attributes", "team"), ("client", "name"), ("principal", "attributes")}
    team = frozenset({("principal", "attributes", "team")})
    red = call(principal={"id": "ann", "attributes": {"team": "red"}})
    also_red = call(principal={"id": "bob", "attributes": {"team": "red", "floor": 3}})
    nobody = call(principal={"id": "ann", "attributes": {}})
    assert view_facts(team, red) == view_facts(team, also_red) != view_facts(team, nobody)
    assert view_facts(team, nobody) != view_facts(team, call(principal={"attributes": {"team": None}}))


def test_allow_that_cannot_be_compiled_is_left_out_and_deny_always_holds() -> None:
    bad = "nobody.id == 1"
    allow = compile_policy((), (), (rule("allow", id="a", condition=bad), rule("allow", id="b", priority=900)))
    assert [(problem.rule, problem.field) for problem in allow.problems] == [("a", "condition")]
    assert decide(allow.ruleset, call()).rule == "b"
    deny = compile_policy((), (), (rule("deny", id="d", condition=bad), rule("allow", id="b", priority=900)))
    assert decide(deny.ruleset, call()).rule == "d"
    assert "cannot be read" in decide(deny.ruleset, call()).reason
    assert listing(deny.ruleset, call()) == Listing.HIDDEN
    assert decide(compile_policy((), (), (rule("ask", id="q", condition=bad),)).ruleset, call()).effect == "ask"


def test_disabled_rules_are_not_even_compiled() -> None:
    assert not compile_policy((), (), (rule("deny", enabled=False, condition="(("),)).problems


ANN = {"id": "ann"}
UNKNOWN = "principal.absent == 1"
ABSENT = "its condition cannot be evaluated (a field is absent) and counts as"


@pytest.mark.parametrize(
    ("rules", "reason", "trace"),
    [
        (
            [rule("allow", id="A", condition="principal.id == 'ann'")],
            "rule 'A' allows this",
            [("A", True, "its condition is true", "")],
        ),
        ([rule("allow", id="A", condition="principal.id == 'bob'"), rule("allow", id="B", priority=900)], "", []),
        (
            [rule("ask", id="A", condition=UNKNOWN)],
            f"rule 'A' asks a person about this ({ABSENT} true)",
            [("A", True, f"{ABSENT} true", "a field is absent")],
        ),
        (
            [rule("allow", id="A", condition=UNKNOWN), rule("deny", id="B", priority=900, reason="closed")],
            f"closed; A: {ABSENT} false",
            [("A", False, f"{ABSENT} false", "a field is absent")],
        ),
        (
            [rule("allow", id="A", condition=UNKNOWN), rule("allow", id="B", priority=900)],
            "rule 'B' allows this",
            [("A", False, f"{ABSENT} false", "a field is absent")],
        ),
        (
            [rule("allow", id=f"A{n}", condition=UNKNOWN, priority=n) for n in range(4)],
            "no rule or grant allows read tools of time here (roles: none)"
            + "".join(f"; A{n}: {ABSENT} false" for n in range(3)),
            [(f"A{n}", False, f"{ABSENT} false", "a field is absent") for n in range(4)],
        ),
        (
            [rule("allow", id="A", condition=UNKNOWN), rule("deny", id="B", priority=900, condition="true")],
            "rule 'B' denies this",
            [("A", False, f"{ABSENT} false", "a field is absent"), ("B", True, "its condition is true", "")],
        ),
    ],
)
def test_a_decision_tells_what_its_conditions_came_to(rules: list[Rule], reason: str, trace: list[Any]) -> None:
    decision = decide(ruleset(*rules), call(principal=ANN))
    assert decision.reason == (reason or "rule 'B' allows this")
    assert [(line.rule, line.matched, line.why, line.failure) for line in decision.trace] == trace
    assert all(line.name == line.rule for line in decision.trace)


@pytest.mark.parametrize(
    ("switches", "reason"),
    [
        (Switches(org_enabled=False), "the org is disabled"),
        (Switches(upstream_enabled=False), "the upstream is disabled"),
        (Switches(definition_enabled=False), "an operator switched this off"),
        (Switches(held=True), "its definition changed and waits for approval"),
        (Switches(False, False, False, True), "the org is disabled"),
    ],
)
def test_a_closed_gate_says_why(switches: Switches, reason: str) -> None:
    closed = gate(target("time/get_time"), KeyScope(), switches)
    assert closed is not None
    assert (closed.reason, closed.trace) == (reason, ())


def test_the_denials_that_are_found_later_are_gates_too() -> None:
    assert rate_limited("Wait 3 s.") == Decision("deny", "gate:rate_limited", "Wait 3 s.")
    told = "the argument 'zone' is set by an operator, leave it out"
    assert set_by_operator("zone") == Decision("deny", "gate:set_by_operator", told)


def test_the_facts_of_a_view_are_text_that_is_equal_when_the_values_are() -> None:
    id_, client = frozenset({("principal", "id")}), frozenset({("client", "name"), ("client", "capabilities")})
    ann = call(principal={"id": "ann"}, client={"name": "x", "capabilities": {"a": 1, "b": 2}})
    assert view_facts(frozenset(), ann) == ""
    assert view_facts(id_, ann) == '[["ann"]]'
    assert view_facts(id_, call()) == "[[]]"
    turned = call(client={"capabilities": MappingProxyType({"b": 2, "a": 1}), "name": "x"})
    assert view_facts(client, ann) == view_facts(client, turned) == '[[{"a": 1, "b": 2}], ["x"]]'
    assert view_facts(id_, call(principal={"id": READ})) == '[["read"]]'
    assert view_facts(id_, call(principal={"id": frozenset({"x"})})) == "[[\"frozenset({'x'})\"]]"


def test_a_rule_becomes_an_entry_and_its_faults_become_problems() -> None:
    problems: list[Problem] = []
    plain = rule_entry(rule("ask", id="q", reason="because"), problems)
    assert plain is not None
    assert not problems
    assert (plain.source, plain.id, plain.name, plain.effect, plain.reason) == ("rule", "q", "q", "ask", "because")
    assert (plain.condition, plain.unreadable, plain.outside, dict(plain.switches)) == (None, False, frozenset(), {})
    assert (plain.kinds, plain.risks) == (frozenset({"tool"}), frozenset(Risk))
    assert all(globs.any for globs in (plain.roles, plain.upstreams, plain.tools, plain.applications))
    bad = rule_entry(Rule("id", "name", 1, "deny", kinds=(), condition="1 == who"), problems)
    assert bad is not None
    assert (bad.id, bad.name, bad.unreadable, bad.condition) == ("id", "name", True, None)
    assert bad.kinds == frozenset(KINDS)
    assert bad.reason == "rule 'name' denies this (its condition cannot be read, so it always holds)"
    assert rule_entry(Rule("id2", "name", 1, "allow", condition="1 == who"), problems) is None
    told = "unknown name 'who'; there are principal, tool, arguments, client"
    assert problems == [Problem("id", "condition", told, 5), Problem("id2", "condition", told, 5)]


def test_what_grants_open_is_an_entry_each() -> None:
    switches = {("tool", "log"): True}
    entries = ruleset(
        grants=(
            Grant("dev", "git", "all"),
            Grant("dev", "svn", "none"),
            Grant("ops", "git", "custom", {("tool", "x"): False}),
            Grant("ops", "cvs", "custom", switches),  # type: ignore[arg-type]
        ),
        roles=(RoleSpec("dev", "read-only"), RoleSpec("ops")),
    ).entries
    told = [(entry.source, entry.id, entry.name, entry.effect, entry.reason) for entry in entries]
    assert told == [
        ("grant", "grant:dev/git", "grant:dev/git", "allow", "role dev has all of git"),
        ("grant", "grant:ops/cvs", "grant:ops/cvs", "allow", "role ops has custom of cvs"),
        ("grant", "role:dev", "role:dev", "allow", "role dev has read-only on every upstream"),
    ]
    assert [entry.risks for entry in entries] == [frozenset(Risk), frozenset(), frozenset({READ})]
    assert [entry.outside for entry in entries] == [frozenset(), frozenset(), frozenset({"git", "svn"})]
    assert [dict(entry.switches) for entry in entries] == [{}, switches, {}]
    assert all(entry.kinds == frozenset(KINDS) and entry.tools.any and entry.applications.any for entry in entries)


def test_plans_are_remembered_and_shared_and_their_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_PLANS", 2)
    rules = ruleset(ALLOW)
    first = rules.plan(call("time/a"))
    assert rules.plan(call("time/a")) is first
    assert rules.plan(call("time/b")) is first
    assert (len(rules.plans), len(rules.shared)) == (2, 1)
    again = rules.plan(call("time/c"))
    assert again == first
    assert (len(rules.plans), len(rules.shared)) == (1, 1)
