"""The lines that speak of a call, in words, down to the one that decides."""

from typing import Any

import pytest

from policies.tracing import reads_arguments, trace
from policies.types import Grant, Risk, RoleSpec, Rule
from tests.policies.build import call, rule, ruleset

WRITE = Risk.WRITE
ALLOW = rule("allow", id="open", priority=900)
NOTHING_ELSE = ("open", True, "it has no condition")


def lines(rules: list[Rule], *args: Any, **parts: Any) -> list[tuple[str, bool, str]]:
    return [(line.rule, line.matched, line.why) for line in trace(ruleset(*rules), call(*args, **parts))]


@pytest.mark.requirement("O9")
@pytest.mark.parametrize(
    ("first", "told"),
    [
        (rule("deny", id="a"), ("a", True, "it has no condition")),
        (rule("deny", id="a", condition="arguments.n == 1"), ("a", True, "its condition is true")),
        (rule("deny", id="a", condition="arguments.n == 2"), ("a", False, "its condition is not true")),
        (rule("deny", id="a", roles=("ops",)), ("a", False, "it is for other roles")),
        (
            rule("deny", id="a", applications=("cursor",)),
            ("a", False, "it is for other applications than an unnamed one"),
        ),
        (rule("deny", id="a", risks=(WRITE,)), ("a", False, "it is not for read")),
        (rule("deny", id="a", kinds=("prompt",)), None),
        (rule("deny", id="a", upstreams=("git",)), None),
        (rule("deny", id="a", tools=("set_*",)), None),
        (rule("deny", id="a", tools=("get_*",), roles=("ops",)), ("a", False, "it is for other roles")),
    ],
)
def test_each_rule_that_speaks_of_the_tool_says_why_it_did_not_decide(
    first: Rule, told: tuple[str, bool, str] | None
) -> None:
    found = lines([first, ALLOW], "time/get_time", "viewer", arguments={"n": 1})
    assert found == ([told] if told and told[1] else [*([told] if told else []), NOTHING_ELSE])


def test_the_application_is_named() -> None:
    rules = [rule("deny", id="a", applications=("cursor",))]
    told = [("a", False, "it is for other applications than vscode")]
    assert lines(rules, application="vscode") == told
    assert lines(rules, application="cursor") == [("a", True, "it has no condition")]


def test_names_stand_beside_ids() -> None:
    rules = ruleset(Rule("1", "quiet", 1, "deny", roles=("ops",)), Rule("2", "open", 2, "allow"))
    assert [(line.rule, line.name) for line in trace(rules, call())] == [("1", "quiet"), ("2", "open")]


GRANTS = (
    Grant("dev", "git", "read-only", {("tool", "log"): False, ("tool", "tag"): True}),
    Grant("ops", "git", "all"),
)
ROLES = (RoleSpec("dev", "read-only"), RoleSpec("auto", "all"))


@pytest.mark.requirement("O9")
@pytest.mark.parametrize(
    ("path", "role", "risk", "told"),
    [
        ("git/status", "dev", Risk.READ, [("grant:dev/git", True, "it has no condition")]),
        (
            "git/log",
            "dev",
            Risk.READ,
            [("grant:dev/git", False, "role dev has read-only of git, but this is switched off there")],
        ),
        (
            "git/push",
            "dev",
            WRITE,
            [("grant:dev/git", False, "role dev has read-only of git, but this is write")],
        ),
        ("git/tag", "dev", WRITE, [("grant:dev/git", True, "it has no condition")]),
        (
            "svn/push",
            "dev",
            WRITE,
            [("role:dev", False, "role dev has read-only on every upstream, but this is write")],
        ),
        ("svn/log", "dev", Risk.READ, [("role:dev", True, "it has no condition")]),
        ("git/log", "nobody", Risk.READ, []),
        ("git/push", "auto", WRITE, [("role:auto", True, "it has no condition")]),
    ],
)
def test_grants_tell_what_they_say_to_the_callers_own_roles(
    path: str, role: str, risk: Risk, told: list[Any]
) -> None:
    rules = ruleset(grants=GRANTS, roles=ROLES)
    assert [(line.rule, line.matched, line.why) for line in trace(rules, call(path, role, risk=risk))] == told


@pytest.mark.parametrize(
    ("rules", "reads"),
    [
        ([], False),
        ([ALLOW], False),
        ([rule("deny", condition="arguments.n == 1"), ALLOW], True),
        ([rule("deny", condition="principal.id == 'a'"), ALLOW], False),
        (
            [rule("deny", condition="principal.id == 'a'"), rule("deny", priority=2, condition="has(arguments.n)")],
            True,
        ),
        ([rule("deny", tools=("x",), condition="arguments.n == 1"), ALLOW], False),
    ],
)
def test_whether_arguments_matter(rules: list[Rule], reads: bool) -> None:
    assert reads_arguments(ruleset(*rules), call()) is reads
