"""What conditions may say, and that whatever cannot be evaluated counts against the caller."""

import time
from typing import Any

import pytest
from msgspec import structs

from mcphub.core.limits import Limits
from policies.cel_source import BadCondition
from policies.conditions import Evaluation, Failure, compile_condition, within
from policies.engine import decide
from policies.types import CallRequest, Risk, Target
from tests.policies.build import call, rule, ruleset

LIMITS = Limits()


def verdict(condition: str, arguments: dict[str, Any] | None = None, **parts: Any) -> bool | Failure:
    request = call("time/get_time", arguments=arguments, **parts)
    return Evaluation(request, LIMITS).holds(compile_condition(condition))


@pytest.mark.parametrize(
    ("condition", "arguments", "expected"),
    [
        ("true", {}, True),
        ("arguments.n == 1", {"n": 1}, True),
        ("arguments.n == 1", {"n": 1.0}, True),
        ("arguments.n == 1", {"n": True}, False),
        ("arguments['n'] > 10", {"n": 11}, True),
        ("has(arguments.n) && arguments.n > 10", {}, False),
        ("'n' in arguments", {"n": None}, True),
        ("arguments.path.startsWith('/srv/')", {"path": "/srv/x"}, True),
        ("arguments.path.matches('^/srv/[a-z]+$')", {"path": "/srv/abc"}, True),
        ("arguments.path.matches('^/srv/[a-z]+$')", {"path": "/etc/abc"}, False),
        (r"arguments.path.matches(r'^\w+$')", {"path": "abc"}, True),
        ("arguments.a.matches('x') || arguments.b.matches('y')", {"a": "-", "b": "y"}, True),
        ("arguments.to.all(t, t.endsWith('@us.org'))", {"to": ["a@us.org", "b@us.org"]}, True),
        ("arguments.to.all(t, t.endsWith('@us.org'))", {"to": ["a@us.org", "b@evil.org"]}, False),
        ("arguments.to.exists(t, t in principal.attributes.friends)", {"to": ["x", "bob"]}, True),
        ("type(arguments.n) == string", {"n": "1"}, True),
        ("size(arguments.name) < 5 && tool.risk == 'read'", {"name": "abc"}, True),
        ("tool.kind == 'tool' && tool.upstream == 'time' && tool.name == 'get_time'", {}, True),
        ("principal.id == 'ann' && client.name == 'cursor'", {}, True),
        ('arguments.text == "all(x, map(y, arguments))" // exists(arguments)', {"text": "?"}, False),
        ("timestamp(arguments.when).getFullYear() == 2026", {"when": "2026-07-28T00:00:00Z"}, True),
    ],
)
def test_conditions_hold(condition: str, arguments: dict[str, Any], expected: bool) -> None:
    principal = {"id": "ann", "attributes": {"friends": ["bob"]}}
    assert verdict(condition, arguments, principal=principal, client={"name": "cursor"}) is expected


FAILING = [
    ("arguments.n == 1", {}, "absent"),
    ("arguments.n.m == 1", {"n": 1}, "wrong type"),
    ("arguments.list[3] == 1", {"list": [1]}, "absent"),
    ("arguments.n > 'a'", {"n": 1}, "wrong type"),
    ("arguments.n / 0 == 1", {"n": 1}, "cannot be computed"),
    ("arguments.n + 9223372036854775807 > 0", {"n": 1}, "cannot be computed"),
    ("int(arguments.n) == 1", {"n": "one"}, "cannot be applied"),
    ("arguments.n.matches('1')", {"n": 1}, "cannot be applied"),
    ("arguments.n", {"n": 1}, "not true or false"),
    ("arguments.n", {"n": None}, "not true or false"),
    ("arguments.n", {"n": "true"}, "not true or false"),
    ("arguments.n == 1", {"n": 1, "pad": "x" * 70_000}, "larger"),
    ("arguments.n == 1", {"n": 1, "pad": [0] * 2_000}, "larger"),
    ("arguments.n == 1", {"n": 1, "big": 2**64}, "larger"),
    ("arguments.n == 1", {"n": 1, "odd": "\ud800"}, "cannot read"),
]


@pytest.mark.requirement("O6")
@pytest.mark.parametrize(("condition", "arguments", "why"), FAILING)
def test_what_cannot_be_evaluated_counts_against_the_caller(condition: str, arguments: Any, why: str) -> None:
    request = call("time/get_time", arguments=arguments)
    allowing = decide(ruleset(rule("allow", condition=condition)), request)
    assert allowing.effect == "deny"
    assert why in allowing.trace[0].why
    assert not allowing.trace[0].matched
    for effect in ("deny", "ask"):
        against = decide(ruleset(rule(effect, condition=condition), rule("allow", priority=900)), request)
        assert against.effect == effect
        assert against.trace[-1].matched
        assert why in against.trace[-1].why


@pytest.mark.parametrize(
    "condition", ["int(arguments.n) == 1", "arguments.n + 1 == 2", "arguments[arguments.n] == 1"]
)
def test_the_trace_never_repeats_values(condition: str) -> None:
    found = verdict(condition, {"n": "s3cret"})
    assert isinstance(found, Failure)
    assert "s3cret" not in found.why


@pytest.mark.requirement("O6")
@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ("", "Syntax error"),
        ("arguments.n ==", "Syntax error"),
        ("arguments.n == 1 arguments", "extraneous"),
        ("user.id == 1", "unknown name 'user'"),
        ("x == 1 || arguments.a.exists(x, x == 1)", "unknown name 'x'"),
        ("arguments.a.exists(x, y, x == y)", "unknown name 'y'"),
        (".arguments.n == 1", "not supported"),
        ("arguments.s.lowerAscii() == 'x'", "unknown function 'lowerAscii'"),
        ("now() > 1", "unknown function 'now'"),
        ("optional.of(1) == 1", "unknown"),
        ("arguments.a.all(x, arguments.b.all(y, x == y))", "nested"),
        ("arguments.a.all(x, x.exists(y, y == 1))", "nested"),
        ("arguments.a.all(x, x in arguments.b)", "its own item"),
        ("arguments.a.exists(x, client.name == x)", "its own item"),
        ("arguments.a.map(x, x) == []", "not available"),
        ("arguments.a.filter(x, x == 1) == []", "not available"),
        ("principal.roles.exists(arguments, arguments == 'x')", "cannot name an item"),
        ("arguments.s.matches(arguments.p)", "literal"),
        ("arguments.s.matches('a' + 'b')", "literal"),
        ("arguments.s.matches('(')", "missing )"),
        ("arguments.s.matches('(a{1000}){1000}')", "invalid repetition"),
        ("arguments.s.matches(b'a')", "not bytes"),
        ("arguments.s.re2_matches('a')", "unknown function"),
        ("Arguments{n: 1}.n == 1", "unknown name 'Arguments'"),
        ("arguments.`n` == 1", "unexpected character"),
        ("arguments.n == 1" + " || arguments.n == 1" * 200, "longer than"),
        ("size(" + "arguments.s + " * 10 + "'x') > 1", "additions"),
        ("arguments.a.all(x, x == 1)" + " && arguments.a.all(x, x == 1)" * 8, "more than 8 macros"),
        ("(" * 300 + "true" + ")" * 300, ""),
    ],
)
def test_conditions_refused_before_saving(condition: str, fault: str) -> None:
    with pytest.raises(BadCondition) as caught:
        compile_condition(condition)
    assert fault in str(caught.value)


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(BadCondition) as caught:
        compile_condition("true && nobody.id == 1")
    assert caught.value.at == 8


@pytest.mark.requirement("O6")
def test_a_hostile_argument_costs_no_more_than_an_allowed_one() -> None:
    rules = ruleset(rule("allow", condition="arguments.list.all(x, x.matches('^a+$') && x != 'b')"))
    hostile = [{"list": ["a"] * 50_000}, {"list": [{"a": ["x"]}] * 50_000}, {"list": ["a" * 1_000_000]}]
    allowed = {"list": ["a" * 30] * 1_990}
    budget = _seconds(rules, allowed)
    for arguments in hostile:
        assert _seconds(rules, arguments) < budget + 0.002


def _seconds(rules: Any, arguments: Any) -> float:
    """The CPU time of one decision, which a busy machine does not lengthen."""
    best = 9.0
    for _ in range(3):
        start = time.thread_time()
        decide(rules, call("time/x", arguments=arguments))
        best = min(best, time.thread_time() - start)
    return best


def test_arguments_are_asked_for_at_most_once_and_only_when_read() -> None:
    asked = []

    def arguments() -> dict[str, Any]:
        asked.append(1)
        return {"n": 1}

    request = structs.replace(call("time/x"), arguments=arguments)
    decide(
        ruleset(rule("deny", condition="principal.id == 'x'"), rule("allow", condition="tool.name == 'x'")), request
    )
    assert decide(ruleset(rule("allow", condition="tool.name == 'x'")), request).effect == "allow"
    assert not asked
    twice = (rule("deny", condition="arguments.n == 2"), rule("allow", condition="arguments.n == 1"))
    assert decide(ruleset(*twice), request).effect == "allow"
    assert len(asked) == 1


def test_a_principal_that_conditions_cannot_read_counts_against_the_caller() -> None:
    odd = {"id": object()}
    assert decide(ruleset(rule("allow", condition="true")), call(principal=odd)).effect == "deny"


@pytest.mark.parametrize(
    ("value", "nodes", "size", "expected"),
    [
        ({}, 1, 0, True),
        ({"a": 1}, 2, 1, True),
        ({"a": 1}, 1, 1, False),
        ({"a": 1}, 2, 0, False),
        ({"a": [1, 2, {"b": "cc"}]}, 6, 4, True),
        ({"a": [1, 2, {"b": "cc"}]}, 5, 4, False),
        ({"a": [1, 2, {"b": "cc"}]}, 6, 3, False),
        ({"é": "é"}, 2, 4, True),
        ({"é": "é"}, 2, 3, False),
        ({"n": 2**64 - 1, "m": -(2**63), "t": True, "f": 1e300}, 5, 4, True),
        ({"n": 2**64}, 5, 4, False),
        ({"n": -(2**63) - 1}, 5, 4, False),
    ],
)
def test_size_of_arguments(value: Any, nodes: int, size: int, expected: bool) -> None:
    assert within(value, nodes, size) is expected


def test_one_evaluation_serves_many_targets() -> None:
    first = call("time/a", principal={"id": "ann"})
    evaluation = Evaluation(first, LIMITS)
    condition = compile_condition("tool.name == 'b'")
    second = call("time/b")
    assert isinstance(second.target, Target)
    assert [evaluation.holds(condition, request) for request in (first, second, first)] == [False, True, False]


@pytest.mark.parametrize(
    ("value", "nodes", "expected"),
    [
        ([[1, 2], [3, 4]], 7, True),
        ([[1, 2], [3, 4]], 6, False),
        ([{"a": 1}, {"b": 2}], 5, True),
        ([{"a": 1}, {"b": 2}], 4, False),
        ([[[[]]]], 4, True),
        ([[[[]]]], 3, False),
        (({}, {}), 3, True),
        (("a", "b", "c"), 3, False),
    ],
)
def test_every_value_counts_once_wherever_it_stands(value: Any, nodes: int, expected: bool) -> None:
    assert within(value, nodes, 100) is expected


class Endless(list[Any]):
    """Fails when it is walked: its length alone was too much."""

    def __iter__(self) -> Any:
        raise AssertionError("walked")


def test_what_is_too_long_is_not_walked() -> None:
    assert not within([1, 2, Endless([0] * 8)], 10, 100)
    assert not within({"a": 1, "b": Endless([0] * 8)}, 10, 100)


def test_size_is_of_bytes_also_where_characters_are_few() -> None:
    assert within("é" * 5, 1, 10)
    assert not within("é" * 5, 1, 9)
    assert not within("\ud800", 1, 2)
    assert within("\ud800", 1, 3)


def test_arguments_that_nobody_gave_are_empty() -> None:
    request = CallRequest(Target("tool", "time", "x", Risk.READ), frozenset())
    evaluation = Evaluation(request, LIMITS)
    assert evaluation.holds(compile_condition("arguments == {}")) is True
    assert evaluation.holds(compile_condition("client == {}")) is True


def test_the_words_of_failures() -> None:
    assert verdict("arguments.n", {"n": 1}) == Failure("the result is not true or false")
    assert verdict("arguments.n.matches('1')", {"n": 1}) == Failure("a function cannot be applied to a value")
    assert verdict("arguments.n == 1", {"n": 2**64}) == Failure("arguments: larger than conditions may read")
    assert verdict("client.n == 1", client={"n": 2**64}) == Failure("client: larger than conditions may read")
    assert verdict("client.n == 1", client={"n": object()}) == Failure("client: a value that conditions cannot read")


def test_a_failure_of_one_condition_holds_for_the_next_one_too() -> None:
    evaluation = Evaluation(call(arguments={"n": 2**64}, client={"n": 2**64}), LIMITS)
    for root in ("arguments", "client") * 2:
        assert isinstance(evaluation.holds(compile_condition(f"{root}.n == 1")), Failure)
    assert evaluation.holds(compile_condition("tool.name == 'get_time'")) is True


def test_conditions_with_patterns_share_one_evaluation() -> None:
    evaluation = Evaluation(call(arguments={"a": "x", "b": "y"}), LIMITS)
    one = compile_condition("arguments.a.matches('^x$') && arguments.b.matches('y')")
    other = compile_condition("arguments.b.matches('^x$')")
    assert [evaluation.holds(each) for each in (one, other, one)] == [True, False, True]
    assert (set(one.patterns), set(other.patterns)) == ({"^x$", "y"}, {"^x$"})


def test_what_a_condition_reads() -> None:
    both = compile_condition("arguments.n == client.n")
    neither = compile_condition("principal.id == tool.name")
    assert (both.reads_arguments, both.reads_client, both.source) == (True, True, "arguments.n == client.n")
    assert (neither.reads_arguments, neither.reads_client) == (False, False)
    assert neither.paths == {("principal", "id")}
    assert not neither.patterns


def test_a_pattern_may_not_take_more_memory_than_is_set(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadCondition, match=r"^pattern: pattern too large - compile failed$") as caught:
        compile_condition(r"tool.name.matches(r'\pL{100}')")
    assert caught.value.at == 18
    assert capfd.readouterr() == ("", ""), "the library logs nothing"
