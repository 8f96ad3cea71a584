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
