"""Two policies side by side on one call, and the count of what differs."""

from typing import Any

import pytest

from policies import comparing
from policies.comparing import SAME, Change, ChangeKey, Comparison, Draft, Seen, Tally, Unknown, Verdict
from policies.types import Decision, Rule
from tests.policies.build import call, rule, ruleset

ALLOW = rule("allow", id="open", priority=900)


def names(rules: list[Rule]) -> list[str]:
    return [one.name for one in rules]


def test_a_draft_adds_replaces_by_id_or_name_and_removes() -> None:
    now = [Rule("1", "one", 1, "deny"), Rule("2", "two", 2, "deny"), Rule("3", "three", 3, "deny")]
    renamed, same_name = Rule("1", "first", 1, "allow"), Rule("", "two", 2, "allow")
    assert names(Draft().applied(now)) == ["one", "two", "three"]
    assert names(Draft(put=(renamed,)).applied(now)) == ["two", "three", "first"]
    assert Draft(put=(same_name,)).applied(now) == [now[0], now[2], same_name]
    assert names(Draft(remove=frozenset({"two", "none"})).applied(now)) == ["one", "three"]
    assert names(Draft((renamed,), frozenset({"three"})).applied(now)) == ["two", "first"]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([ALLOW], [ALLOW], "same"),
        ([ALLOW], [rule("allow", id="other", priority=1)], "same"),
        ([ALLOW], [], "allow deny"),
        ([ALLOW], [rule("ask", priority=1), ALLOW], "allow ask"),
        ([ALLOW], [rule("deny", priority=1, tools=("x",)), ALLOW], "same"),
        ([ALLOW], [rule("deny", priority=1, condition="principal.id == 'ann'"), ALLOW], "allow deny"),
        ([ALLOW], [rule("deny", priority=1, condition="principal.id == 'bob'"), ALLOW], "same"),
        ([ALLOW], [rule("deny", priority=1, condition="arguments.n == 1"), ALLOW], "needed"),
        ([ALLOW], [rule("deny", priority=1, condition="client.name == 'x'"), ALLOW], "client"),
        ([rule("deny", priority=1, condition="client.name == 'x'"), ALLOW], [ALLOW], "client"),
        ([ALLOW], [rule("deny", priority=1, condition="client.name == arguments.n"), ALLOW], "client"),
        (
            [rule("deny", priority=1, condition="arguments.n == 1"), ALLOW],
            [rule("deny", id="z", priority=1, condition="arguments.n == 1"), ALLOW],
            "same",
        ),
        (
            [rule("deny", priority=1, condition="arguments.n == 1"), ALLOW],
            [rule("ask", priority=1, condition="arguments.n == 1"), ALLOW],
            "needed",
        ),
        (
            [rule("deny", priority=1, condition="arguments.n == 1"), ALLOW],
            [rule("deny", priority=1, condition="arguments.n == 1")],
            "needed",
        ),
    ],
)
def test_what_can_be_said_without_the_arguments(before: list[Rule], after: list[Rule], verdict: str) -> None:
    found = Comparison(ruleset(*before), ruleset(*after)).needs_arguments(call(principal={"id": "ann"}))
    if verdict == "same":
        assert found is SAME
    elif verdict == "needed":
        assert found is None
    elif verdict == "client":
        assert found == Verdict(unknown=Unknown.CLIENT)
    else:
        assert found is not None
        assert found.before is not None
        assert found.after is not None
        assert (found.unknown, f"{found.before.effect} {found.after.effect}") == (None, verdict)


@pytest.mark.parametrize(("arguments", "changes"), [({"n": 1}, True), ({"n": 2}, False), ({}, True)])
def test_with_the_arguments_both_decide(arguments: dict[str, Any], changes: bool) -> None:
    sides = Comparison(ruleset(ALLOW), ruleset(rule("deny", priority=1, condition="arguments.n == 1"), ALLOW))
    found = sides.decided(call(arguments={"n": 3}), arguments)
    assert (found is not SAME) is changes
    if changes:
        assert (found.before, found.after and found.after.rule) == (
            Decision("allow", "open", "rule 'open' allows this"),
            "deny-1",
        )


OPENED = Verdict(Decision("deny", "", "no"), Decision("allow", "r", "yes"))
CLOSED = Verdict(Decision("allow", "r", "yes"), Decision("deny", "d", "never"))


def test_calls_that_change_alike_are_counted_together_and_the_latest_tells() -> None:
    tally = Tally()
    tally.add(CLOSED, "ann", call("time/a"), Seen(2, 20, "second"))
    tally.add(CLOSED, "ann", call("time/a"), Seen(1, 10, "first"))
    later = Verdict(CLOSED.before, Decision("deny", "e", "later"))
    tally.add(later, "ann", call("time/a"), Seen(4, 30, "third"))
    tally.add(CLOSED, "bob", call("time/b"), Seen(7, 5, "fourth"))
    tally.add(OPENED, "ann", call("git/a"), Seen(7, 5, "fifth"))
    tally.add(SAME, "ann", call("time/a"), Seen(100, 99, "same"))
    assert (tally.calls, tally.changed, tally.unknown) == (121, 21, {})
    key = ChangeKey("ann", "time", "a", "allow", "deny")
    assert tally.changes[key] == Change(key, 7, 30, "third", "e", "later")
    assert [(one.key.principal, one.key.name, one.key.after, one.count) for one in tally.ordered()] == [
        ("ann", "a", "deny", 7),
        ("ann", "a", "allow", 7),
        ("bob", "b", "deny", 7),
    ]


def test_of_two_at_the_same_time_the_one_that_was_read_last_tells() -> None:
    tally = Tally()
    for call_id in ("one", "other"):
        tally.add(CLOSED, "ann", call("time/a"), Seen(1, 10, call_id))
    assert [one.call_id for one in tally.ordered()] == ["other"]


def test_what_comes_most_often_is_first_then_by_name() -> None:
    tally = Tally()
    for who, name, count in (("bob", "a", 1), ("ann", "b", 1), ("ann", "a", 1), ("zoe", "z", 2)):
        tally.add(CLOSED, who, call(f"time/{name}"), Seen(count, 1, "x"))
    assert [one.key.principal + one.key.name for one in tally.ordered()] == ["zoez", "anna", "annb", "boba"]


def test_beyond_the_most_kinds_of_change_only_their_number_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "MAX_CHANGES", 2)
    tally = Tally()
    for name in ("a", "b", "c", "a"):
        tally.add(CLOSED, "ann", call(f"time/{name}"), Seen(1, 1, "x"))
    assert (tally.calls, tally.changed) == (4, 4)
    assert [(one.key.name, one.count) for one in tally.ordered()] == [("a", 2), ("b", 1)]


def test_what_cannot_be_known_is_counted_by_its_reason() -> None:
    tally = Tally()
    for why, count in ((Unknown.CALLER, 2), (Unknown.CALLER, 3), (Unknown.ARGUMENTS, 1)):
        tally.add_unknown(why, count)
    assert (tally.calls, tally.changed) == (6, 0)
    assert tally.unknown == {Unknown.CALLER: 5, Unknown.ARGUMENTS: 1}
