"""Short forms for policy values in tests."""

from collections.abc import Callable, Mapping
from typing import Any

from policies.compiler import compile_policy
from policies.engine import RuleSet
from policies.types import CallRequest, Effect, Grant, Kind, Risk, RoleSpec, Rule, Target


def rule(effect: Effect, *, id: str = "", priority: int = 100, **parts: Any) -> Rule:
    name = id or f"{effect}-{priority}"
    return Rule(id=name, name=name, priority=priority, effect=effect, **parts)


def target(path: str = "time/get_time", risk: Risk = Risk.READ, kind: Kind = "tool") -> Target:
    upstream, _, name = path.partition("/")
    return Target(kind=kind, upstream=upstream, name=name, risk=risk)


def call(
    path: str = "time/get_time",
    *roles: str,
    risk: Risk = Risk.READ,
    kind: Kind = "tool",
    arguments: Mapping[str, Any] | None = None,
    **parts: Any,
) -> CallRequest:
    given: Callable[[], Mapping[str, Any]] = lambda: arguments or {}  # noqa: E731 (read where it is used)
    return CallRequest(target=target(path, risk, kind), roles=frozenset(roles), arguments=given, **parts)


def ruleset(
    *rules: Rule, grants: tuple[Grant, ...] = (), roles: tuple[RoleSpec, ...] = (), clean: bool = True
) -> RuleSet:
    compiled = compile_policy(roles, grants, rules)
    assert not clean or not compiled.problems, compiled.problems
    return compiled.ruleset
