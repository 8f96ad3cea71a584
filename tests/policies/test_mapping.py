"""Which roles a claim gives."""

from typing import Any

import pytest

from policies.mapping import Mapped, MappingSpec, mapped, texts_of


@pytest.mark.requirement("S6")
@pytest.mark.parametrize(
    ("values", "claim", "gives"),
    [
        (["eng"], "eng", True),
        (["eng"], "Eng", False),
        (["eng"], ["ops", "eng"], True),
        (["eng"], ["ops"], False),
        (["eng"], "ops eng", False),
        (["true"], True, True),
        (["true"], False, False),
        (["false"], False, True),
        (["true"], "true", True),
        (["*"], "anything", True),
        (["*"], "", False),
        (["*"], False, False),
        (["*"], [], False),
        (["1"], 1, False),
        (["eng"], {"eng": True}, False),
        (["eng"], None, False),
    ],
)
def test_what_a_claim_gives(values: list[str], claim: Any, gives: bool) -> None:
    line = MappingSpec("line", "groups", frozenset(values), ("viewer",))
    assert bool(mapped([line], "people", {"groups": claim}).roles) == gives


@pytest.mark.parametrize(
    ("sources", "source", "gives"), [((), "people", True), (("a", "b"), "b", True), (("a",), "b", False)]
)
def test_a_line_may_speak_of_some_sources_only(sources: tuple[str, ...], source: str, gives: bool) -> None:
    line = MappingSpec("line", "groups", frozenset({"eng"}), ("viewer",), frozenset(sources))
    assert line.matches(source, {"groups": "eng"}) is gives


def test_all_lines_that_match_give_their_roles_and_are_named() -> None:
    lines = [
        MappingSpec("one", "groups", frozenset({"eng"}), ("viewer", "member")),
        MappingSpec("two", "groups", frozenset({"ops"}), ("operator",)),
        MappingSpec("three", "admin", frozenset({"true", "*"}), ("owner", "member")),
    ]
    found = mapped(lines, "people", {"groups": ["eng"], "admin": True})
    assert found == Mapped(frozenset({"viewer", "member", "owner"}), ("one", "three"))
    assert mapped(lines, "people", {}) == Mapped(frozenset(), ())


@pytest.mark.parametrize(
    ("claim", "texts"),
    [
        (True, {"true"}),
        (False, {"false"}),
        ("a b", {"a b"}),
        ("", {""}),
        (["a", 1, None, "b", ["c"]], {"a", "b"}),
        (("a",), {"a"}),
        (1, set()),
        (None, set()),
        ({"a": "b"}, set()),
    ],
)
def test_the_texts_of_a_claim(claim: Any, texts: set[str]) -> None:
    assert texts_of(claim) == texts
