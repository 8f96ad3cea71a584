"""Rows of (policy, call, decision): the order of DESIGN §7, one line each."""

from typing import Any

import pytest

from mcphub.core.principal import KeyScope
from policies.compiler import compile_policy
from policies.engine import Switches, attributes_read, decide, gate, listing, listings, view_facts
from policies.types import Grant, Listing, Risk, RoleSpec, Rule
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
