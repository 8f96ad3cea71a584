"""Decision speed: `python -m bench.policy` prints microseconds per decision, without CEL and with it.

"First" is the decision for a caller and tool that were not met before; the list is of all tools, with compiling.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from bench import report
from policies.compiler import compile_policy
from policies.engine import RuleSet, decide, listings
from policies.types import CallRequest, Effect, Grant, Risk, RoleSpec, Rule, Target

UPSTREAMS: Final = [f"upstream-{number}" for number in range(100)]
VERBS: Final = ["get", "list", "search", "create", "update", "delete", "send", "run", "export", "grant"]
ROLES: Final = [f"role-{number}" for number in range(20)]
RISKS: Final = list(Risk)
SEED: Final = 7
HARD: Final = "10,000, each with a condition on arguments"
CEL: Final = "arguments.path.startsWith('/srv') && arguments.count < 2"


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


def each(work: Callable[[CallRequest], Any], requests: Sequence[CallRequest]) -> list[str]:
    """Median and 99th percentile in microseconds."""
    took = []
    for request in requests:
        start = time.perf_counter_ns()
        work(request)
        took.append(time.perf_counter_ns() - start)
    took.sort()
    return [f"{statistics.median(took) / 1000:.2f}", f"{took[len(took) * 99 // 100] / 1000:.2f}"]


def measure() -> str:
    """A row for each number of rules, over 10,000 tools; the last one with a condition on arguments in each rule."""
    targets = tools(10_000)
    sets = [frozenset(ROLES[n : n + 2]) for n in range(0, 20, 4)]
    requests = callers(targets, sets)
    found = []
    for name, count, condition in (("10", 10, ""), ("1,000", 1_000, ""), ("10,000", 10_000, ""), (HARD, 10_000, CEL)):
        start = time.perf_counter()
        ruleset = policy(count, condition)
        compiled = f"{(time.perf_counter() - start) * 1000:.0f}"
        cold = each(lambda one, it=ruleset: it.make_plan(one), requests)
        for request in requests:
            ruleset.plan(request)
        warm = each(lambda one, it=ruleset: decide(it, one), requests[:5_000] if condition else requests)
        start = time.perf_counter()
        sum(1 for _ in listings(policy(count, condition), requests[0], targets))
        listed = f"{(time.perf_counter() - start) * 1000:.0f}"
        found.append([name, *warm, *cold, compiled, listed])
    return report.table(["rules", "p50 µs", "p99 µs", "first p50 µs", "first p99 µs", "compile ms", "list ms"], found)


def main() -> None:
    print(measure())


if __name__ == "__main__":
    main()
