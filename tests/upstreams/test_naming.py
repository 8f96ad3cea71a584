import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcphub.core.ids import is_slug
from mcphub.core.names import RESERVED
from upstreams.naming import free_slug, public_name, slug_fault, slug_from

PUBLIC = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")


@pytest.mark.requirement("N1")
def test_public_name_is_slug_and_tool() -> None:
    assert public_name("time", "get_current_time") == "time__get_current_time"


@pytest.mark.requirement("N3")
def test_name_that_fills_64_characters_stays_whole() -> None:
    assert public_name("ab", "x" * 60) == "ab__" + "x" * 60


@pytest.mark.requirement("N3")
@pytest.mark.parametrize("original", ["x" * 61, "a.b", "naïve", "with space", "a/b"])
def test_replaced_or_cut_names_end_in_the_hash_of_the_original(original: str) -> None:
    name = public_name("ab", original)
    assert PUBLIC.match(name)
    assert name.endswith("_" + hashlib.sha256(original.encode()).hexdigest()[:8])


@pytest.mark.requirement("N3")
@given(st.text(), st.text())
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert PUBLIC.match(public_name("ab", one))
    assert (public_name("ab", one) == public_name("ab", other)) == (one == other)


@pytest.mark.requirement("N2")
@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("mcp_sse", "mcp-sse"),
        ("GitHub Enterprise", "github-enterprise"),
        ("Füße", "fue"),
        ("x", "x-mcp"),
        ("日本", "upstream"),
    ],
)
def test_slug_resembles_the_name(name: str, slug: str) -> None:
    assert slug_from(name) == slug


@given(st.text(max_size=100), st.sets(st.text(max_size=40)))
def test_free_slug_is_valid_and_free(name: str, taken: set[str]) -> None:
    slug = free_slug(name, {*taken, slug_from(name)})
    assert is_slug(slug)
    assert slug not in taken | RESERVED


@pytest.mark.requirement("N2")
def test_clashing_and_reserved_names_are_numbered() -> None:
    assert free_slug("time", {"time", "time-2"}) == "time-3"
    assert free_slug("admin", set()) == "admin-2"
    assert free_slug("y" * 40, {"y" * 32}) == "y" * 30 + "-2"


@pytest.mark.requirement("N2")
@pytest.mark.parametrize("slug", ["mcp", "a", "Time", "-a", "a-", "a_b", "a" * 33, ""])
def test_unusable_slugs_are_explained(slug: str) -> None:
    assert slug_fault(slug)
