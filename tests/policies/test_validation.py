"""Rules that may be saved but will never decide anything are named as such."""

from typing import Any

import pytest

from policies.types import Risk, Rule
from policies.validation import rule_problems, rule_warnings, touched
from tests.policies.build import rule, target

TARGETS = [
    target("git/push", Risk.WRITE),
    target("git/log"),
    target("time/now"),
    target("git/review", kind="prompt"),
]
ROLES = ("owner", "dev")


@pytest.mark.parametrize(
    ("parts", "earlier", "warning"),
    [
        ({}, [], ""),
        ({"roles": ("ops",)}, [], "no role has such a name"),
        ({"roles": ("d*",)}, [], ""),
        ({"tools": ("pull",)}, [], "matches nothing"),
        ({"risks": (Risk.ADMIN,)}, [], "matches nothing"),
        ({"kinds": ("prompt",)}, [], ""),
        ({}, [{"priority": 1}], "shadowed: rule 'first'"),
        ({}, [{"priority": 900}], ""),
        ({}, [{"priority": 1, "enabled": False}], ""),
        ({}, [{"priority": 1, "condition": "arguments.n == 1"}], ""),
        ({}, [{"priority": 1, "roles": ("dev",)}], ""),
        ({"roles": ("dev",)}, [{"priority": 1, "roles": ("d*", "x")}], "shadowed"),
        ({"applications": ("cursor",)}, [{"priority": 1, "applications": ("c*",)}], "shadowed"),
        ({"tools": ("pu*",)}, [{"priority": 1, "tools": ("p*",)}], "shadowed: rule 'first'"),
        ({"tools": ("p*",)}, [{"priority": 1, "tools": ("push",)}], "decide everything that it matches now"),
        ({"tools": ("p*", "l*")}, [{"priority": 1, "tools": ("push",)}], ""),
        ({"risks": (Risk.WRITE,)}, [{"priority": 1, "risks": (Risk.READ,)}], ""),
        ({"upstreams": ("git",)}, [{"priority": 1, "upstreams": ("g?t",)}], "shadowed"),
    ],
)
def test_warnings(parts: dict[str, Any], earlier: list[dict[str, Any]], warning: str) -> None:
    one = rule("deny", id="one", priority=100, **parts)
    others = [rule("allow", id="first", **item) for item in earlier]
    found = " ".join(rule_warnings(one, [*others, one], TARGETS, ROLES))
    assert warning in found
    assert bool(found) is bool(warning)


def test_a_rule_does_not_shadow_its_older_self() -> None:
    older = rule("deny", id="one", priority=1)
    assert not rule_warnings(rule("deny", id="one", priority=100), [older], TARGETS, ROLES)


def test_a_switched_off_rule_needs_no_warning() -> None:
    assert not rule_warnings(rule("deny", enabled=False, roles=("ops",)), [], TARGETS, ROLES)


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ({}, ["push", "log", "now"]),
        ({"kinds": ("tool", "prompt"), "upstreams": ("git",)}, ["push", "log", "review"]),
        ({"risks": (Risk.READ,)}, ["log", "now"]),
        ({"effect": "allow", "condition": "nobody == 1"}, ["push", "log", "now"]),
    ],
)
def test_touched_definitions(parts: dict[str, Any], names: list[str]) -> None:
    one = Rule(**{"id": "one", "name": "one", "priority": 1, "effect": "deny", **parts})
    assert [found.name for found in touched(one, TARGETS)] == names


def test_problems_carry_field_and_place() -> None:
    bad = rule("allow", kinds=(), tools=("",), condition="true && nobody")
    found = {problem.field: problem for problem in rule_problems(bad)}
    assert set(found) == {"kinds", "tools", "condition"}
    assert found["condition"].at == 8
    assert found["condition"].text.startswith("Line 1, column 9:")
    assert not rule_problems(rule("allow", condition="  "))


NO_ROLE = "It can never match: no role has such a name."
NOTHING = "It matches nothing that an upstream offers now."
FIRST = "It is shadowed: rule 'first' comes first and decides all that it speaks of."
ALL_OF_THEM = "It is shadowed: rules before it decide everything that it matches now."


@pytest.mark.parametrize(
    ("parts", "earlier", "warnings"),
    [
        ({"roles": ("ops",), "tools": ("pull",)}, [], [NO_ROLE, NOTHING]),
        ({"roles": ("ops", "dev")}, [], []),
        ({}, [{"kinds": ("prompt",)}], []),
        ({"kinds": ("tool", "prompt")}, [{}], []),
        ({"kinds": ("prompt",)}, [{"kinds": ("tool", "prompt")}], [FIRST]),
        ({}, [{"risks": (Risk.READ,)}], []),
        ({"risks": (Risk.READ,)}, [{"risks": (Risk.READ, Risk.WRITE)}], [FIRST]),
        ({"upstreams": ("git", "time")}, [{"upstreams": ("git",)}], []),
        ({}, [{"upstreams": ("git",)}, {"upstreams": ("time",)}], [ALL_OF_THEM]),
        ({}, [{"upstreams": ("git",)}, {"upstreams": ("time",), "roles": ("dev",)}], []),
        ({}, [{"upstreams": ("git",)}, {"upstreams": ("time",), "condition": "true"}], []),
        ({}, [{"upstreams": ("git",)}, {"upstreams": ("time",), "applications": ("a",)}], []),
        ({"tools": ("pull",)}, [{"tools": ("p?sh",)}], [NOTHING]),
        ({"tools": ("pull",)}, [{}], [NOTHING, FIRST]),
        ({"condition": "arguments.n == 1"}, [{}], [FIRST]),
        ({"condition": "1 == who"}, [{}], [FIRST]),
        ({"effect": "allow", "condition": "1 == who"}, [{}], []),
    ],
)
def test_the_words_of_warnings(parts: dict[str, Any], earlier: list[dict[str, Any]], warnings: list[str]) -> None:
    one = Rule(**{"id": "one", "name": "one", "priority": 100, "effect": "deny", **parts})
    others = [
        rule("allow", id="first" if len(earlier) == 1 else str(n), priority=n, **item)
        for n, item in enumerate(earlier)
    ]
    assert rule_warnings(one, [one, *others[::-1]], TARGETS, ROLES) == warnings


def test_the_first_of_several_that_shadow_is_named() -> None:
    others = [rule("allow", id="later", priority=2), rule("allow", id="first", priority=1)]
    assert rule_warnings(rule("deny", id="one"), others, TARGETS, ROLES) == [FIRST]


@pytest.mark.parametrize(
    ("parts", "problems"),
    [
        ({}, []),
        ({"roles": ("x",) * 200, "tools": ("y" * 1_024,)}, []),
        ({"roles": ("x",) * 201}, [("roles", "At most 200 entries.", None)]),
        ({"upstreams": (" ",)}, [("upstreams", "' ' is empty or longer than 1024 characters.", None)]),
        (
            {"applications": ("z" * 1_025,)},
            [("applications", f"'{'z' * 40}' is empty or longer than 1024 characters.", None)],
        ),
        ({"kinds": ()}, [("kinds", "Choose at least one kind.", None)]),
        ({"condition": "1 +\n 1 == `"}, [("condition", "Line 2, column 7: unexpected character '`'.", 10)]),
        ({"condition": "`"}, [("condition", "Line 1, column 1: unexpected character '`'.", 0)]),
        ({"condition": ".tool == 1"}, [("condition", "This form of naming a value is not supported.", None)]),
    ],
)
def test_the_words_of_problems(parts: dict[str, Any], problems: list[tuple[str, str, int | None]]) -> None:
    found = rule_problems(rule("allow", id="r", **parts))
    assert [(one.field, one.text, one.at) for one in found] == problems
    assert all(one.rule == "r" for one in found)
