"""Which roles a deny leaves with nothing."""

import pytest

from policies.emptying import emptied_roles
from policies.types import Grant, Risk, RoleSpec, Rule
from tests.policies.build import rule, ruleset, target

TARGETS = [target("git/log"), target("git/push", Risk.WRITE), target("time/now")]
GRANTS = (Grant("git-only", "git", "all"), Grant("both", "git", "all"), Grant("both", "time", "all"))
ROLES = (RoleSpec("git-only"), RoleSpec("both"), RoleSpec("reader", "read-only"), RoleSpec("nothing"))
NAMES = [role.name for role in ROLES]
BOSS = "principal.roles == ['git-only'] && principal.attributes == {}"


@pytest.mark.parametrize(
    ("made", "emptied"),
    [
        (rule("deny"), ["git-only", "both", "reader"]),
        (rule("deny", upstreams=("git",)), ["git-only"]),
        (rule("deny", upstreams=("time",)), []),
        (rule("deny", risks=(Risk.READ,)), ["reader"]),
        (rule("deny", upstreams=("git",), risks=(Risk.WRITE,)), []),
        (rule("deny", roles=("both",)), ["both"]),
        (rule("deny", roles=("*o*",)), ["git-only", "both"]),
        (rule("deny", upstreams=("nowhere",)), []),
        (rule("deny", condition="arguments.n == 1"), []),
        (rule("deny", condition=BOSS), ["git-only"]),
        (rule("deny", condition="1 == who"), ["git-only", "both", "reader"]),
        (rule("deny", enabled=False), []),
        (rule("ask"), []),
        (rule("allow"), []),
        (rule("allow", condition="1 == who"), []),
    ],
)
def test_roles_that_reach_something_without_the_rule_and_nothing_with_it(made: Rule, emptied: list[str]) -> None:
    before = ruleset(grants=GRANTS, roles=ROLES)
    after = ruleset(made, grants=GRANTS, roles=ROLES, clean=False)
    assert emptied_roles(made, before, after, TARGETS, NAMES) == emptied
    assert emptied_roles(made, after, after, TARGETS, NAMES) == []
    assert emptied_roles(made, before, after, [], NAMES) == []


def test_a_rule_that_something_else_opens_again_empties_nobody() -> None:
    made = rule("deny", priority=900)
    after = ruleset(rule("allow", priority=1, tools=("log",)), made, grants=GRANTS, roles=ROLES)
    assert emptied_roles(made, ruleset(grants=GRANTS, roles=ROLES), after, TARGETS, NAMES) == []
