"""Globs: rows of what matches and of what certainly covers what."""

import pytest

from policies.globs import Glob, Globs


@pytest.mark.parametrize(
    ("patterns", "text", "matches"),
    [
        ((), "", True),
        (("*",), "anything", True),
        (("a", "*"), "b", True),
        (("",), "", True),
        (("",), "a", False),
        (("a*",), "a", True),
        (("*a",), "a", True),
        (("a*a",), "a", False),
        (("a*a",), "aa", True),
        (("ab*bc",), "abc", False),
        (("a*b*c",), "axbxc", True),
        (("a*b*c",), "acb", False),
        (("a*bc*c",), "abc", False),
        (("a*b*b*c",), "abc", False),
        (("a*b*b*c",), "abbc", True),
        (("a**c",), "ac", True),
        (("?",), "a", True),
        (("?",), "", False),
        (("?",), "\n", True),
        (("a?c*",), "abcd", True),
        (("*?a?*",), "xay", True),
        (("*?a?*",), "ay", False),
        (("a.c",), "abc", False),
        (("a.?",), "a.b", True),
        (("a.?",), "abb", False),
        (("[a]*",), "[a]b", True),
        (("A*",), "ab", False),
    ],
)
def test_matches(patterns: tuple[str, ...], text: str, matches: bool) -> None:
    assert Globs(patterns).match(text) is matches


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        ((), (), True),
        ((), ("a",), True),
        (("a",), (), False),
        (("a*",), ("*",), False),
        (("a",), ("a",), True),
        (("a",), ("b",), False),
        (("a", "b"), ("b",), True),
        (("a", "b"), ("b", "c"), False),
        (("a*",), ("ab", "a*"), True),
        (("a*",), ("ab", "b"), False),
        (("a*", "b"), ("ac", "b"), True),
        (("a*",), ("ab*",), True),
        (("ab*",), ("a*",), False),
        (("*c",), ("a*c",), True),
        (("a?",), ("a?",), True),
        (("a?",), ("ab",), True),
        (("a?",), ("a*",), False),
        (("?*",), ("a*",), False),
        (("*?",), ("?b",), True),
        (("a*",), ("a?",), True),
        (("a*",), ("?b",), False),
    ],
)
def test_covers(one: tuple[str, ...], other: tuple[str, ...], covers: bool) -> None:
    assert Globs(one).covers(Globs(other)) is covers


@pytest.mark.parametrize(
    ("patterns", "texts", "matches"),
    [
        ((), frozenset(), True),
        (("*",), frozenset(), True),
        (("a",), frozenset(), False),
        (("a",), frozenset({"b", "a"}), True),
        (("a*",), frozenset({"b", "ab"}), True),
        (("a*",), frozenset({"b", "c"}), False),
    ],
)
def test_any_of_several_texts(patterns: tuple[str, ...], texts: frozenset[str], matches: bool) -> None:
    assert Globs(patterns).match_one(texts) is matches


def test_a_literal_is_itself_whatever_it_is_made_of() -> None:
    literal = Globs.literally("a*")
    assert (literal.any, literal.exact, literal.wild) == (False, frozenset({"a*"}), ())
    assert literal.match("a*")
    assert not literal.match("ab")
    assert not literal.match("")


def test_patterns_are_shared_and_given_once() -> None:
    assert Globs.of(("a", "b*")) is Globs.of(("a", "b*"))
    given = Globs(("a", "b*", "a", "b*"))
    assert (given.exact, [glob.pattern for glob in given.wild]) == (frozenset({"a"}), ["b*"])
    assert Globs(("a*", "*")).wild == ()


def test_the_literal_ends_of_a_pattern() -> None:
    glob = Glob("a*b?c*d")
    assert (glob.prefix, glob.suffix, glob.middle, glob.questions) == ("a", "d", ("b", "c"), True)
    assert not Glob("a*").questions
