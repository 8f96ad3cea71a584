"""Decision speed: `python -m bench.policy` prints microseconds per decision, without CEL and with it."""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from policies.compiler import compile_policy
from policies.engine import RuleSet, decide, listings
from policies.types import CallRequest, Effect, Grant, Risk, RoleSpec, Rule, Target

UPSTREAMS: Final = [f"upstream-{number}" for number in range(100)]
VERBS: Final = ["get", "list", "search", "create", "update", "delete", "send", "run", "export", "grant"]
ROLES: Final = [f"role-{number}" for number in range(20)]
RISKS: Final = list(Risk)
SEED: Final = 7


def tools(count: int) -> list[Target]:
    """`count` tools spread over the upstreams."""
    return [
        Target("tool", UPSTREAMS[n % len(UPSTREAMS)], f"{VERBS[n % 10]}_thing_{n}", RISKS[n % len(RISKS)])
        for n in range(count)
    ]


def rules(count: int, condition: str = "") -> Iterator[Rule]:
    """Rules of the shapes that people write: exact names, prefixes, whole upstreams, risks, few of them broad."""
    dice = random.Random(SEED)
    for n in range(count):
        upstream = dice.choice(UPSTREAMS)
        shape = n % 5
        names = (
            f"{dice.choice(VERBS)}_thing_{dice.randrange(10_000)}",
            f"{dice.choice(VERBS)}_thing_{dice.randrange(1_000)}*",
            f"*_{dice.randrange(10_000)}",
            "*",
            f"*thing_{dice.randrange(1_000)}*",
        )[shape]
        effect: Effect = dice.choice(("allow", "deny"))
        yield Rule(
            id=f"r{n}",
            name=f"rule {n}",
            priority=n,
            effect=effect,
            roles=() if shape < 2 else (dice.choice(ROLES),),
            upstreams=(upstream,) if shape != 2 else (),
            tools=(names,),
            risks=(dice.choice(RISKS),) if shape == 3 else (),
            condition=condition,
        )


def policy(count: int, condition: str = "") -> RuleSet:
    grants = [Grant(role, upstream, "read-only") for role in ROLES for upstream in UPSTREAMS]
    return compile_policy([RoleSpec(role) for role in ROLES], grants, list(rules(count, condition))).ruleset


def callers(targets: Sequence[Target], sets: Sequence[frozenset[str]]) -> list[CallRequest]:
    dice = random.Random(SEED)
    arguments: dict[str, Any] = {"path": "/srv/data", "count": 3}
    principal = {"id": "user:1", "roles": [], "attributes": {"team": "red"}}
    picked = dice.choices(targets, k=20_000)
    return [CallRequest(one, dice.choice(sets), "cursor", principal, {}, lambda: arguments) for one in picked]


def each(work: Callable[[CallRequest], Any], requests: Sequence[CallRequest]) -> str:
    """Median and 99th percentile in microseconds."""
    took = []
    for request in requests:
        start = time.perf_counter_ns()
        work(request)
        took.append(time.perf_counter_ns() - start)
    took.sort()
    return f"p50 {statistics.median(took) / 1000:8.2f} µs   p99 {took[len(took) * 99 // 100] / 1000:9.2f} µs"


def main() -> None:
    targets = tools(10_000)
    sets = [frozenset(ROLES[n : n + 2]) for n in range(0, 20, 4)]
    requests = callers(targets, sets)
    for count in (10, 1_000, 10_000):
        start = time.perf_counter()
        ruleset = policy(count)
        print(f"{count:>6} rules  compile {(time.perf_counter() - start) * 1000:8.1f} ms")
        print(f"{'':>13} cold    {each(lambda one, it=ruleset: it.make_plan(one), requests)}")
        for request in requests:
            decide(ruleset, request)
        print(f"{'':>13} warm    {each(lambda one, it=ruleset: decide(it, one), requests)}")
        fresh = policy(count)
        start = time.perf_counter()
        shown = sum(1 for _ in listings(fresh, requests[0], targets))
        print(f"{'':>13} list    {(time.perf_counter() - start) * 1000:8.1f} ms for {shown} tools, cold")
    ruleset = policy(10_000, "arguments.path.startsWith('/srv') && arguments.count < 2")
    print(f"{10_000:>6} rules, each with a condition on arguments")
    for request in requests:
        ruleset.plan(request)
    print(f"{'':>13} warm    {each(lambda one: decide(ruleset, one), requests[:5_000])}")


if __name__ == "__main__":
    main()
