"""Rate limits: what each speaks of and counts together, and that no window ever holds too many."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rates import MOST_WINDOWS, Window, Windows
from policies import rates
from policies.rates import PERS, Per, Rates, RateSpec
from policies.types import Risk, Target

ROLES = frozenset({"viewer"})
MARK = Target("tool", "notes", "mark", Risk.WRITE)


def limit(**changes: object) -> RateSpec:
    return RateSpec(**{"id": "1", "name": "some", "per": "principal", "calls": 3, "seconds": 10, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"roles": ("viewer",)}, True),
        ({"roles": ("view*", "x")}, True),
        ({"roles": ("owner",)}, False),
        ({"upstreams": ("notes",)}, True),
        ({"upstreams": ("other",)}, False),
        ({"tools": ("m*",)}, True),
        ({"tools": ("mark", "x")}, True),
        ({"tools": ("erase",)}, False),
        ({"upstreams": ("notes",), "tools": ("erase",)}, False),
    ],
)
def test_a_limit_speaks_of_what_all_its_globs_match(changes: dict[str, object], counts: bool) -> None:
    spec = limit(**changes)
    assert Rates([spec]).of(ROLES, MARK) == ((spec,) if counts else ())


CALLS = [("ann", "notes", "mark"), ("ann", "notes", "read"), ("ann", "mail", "mark"), ("bob", "notes", "mark")]


@pytest.mark.parametrize(
    ("per", "alike"), [("principal", [0, 1, 2]), ("upstream", [0, 1, 3]), ("tool", [0, 3]), ("org", [0, 1, 2, 3])]
)
def test_what_is_counted_together_with_the_first(per: Per, alike: list[int]) -> None:
    spec = limit(per=per)
    keys = [spec.key(who, Target("tool", upstream, name, Risk.READ)) for who, upstream, name in CALLS]
    assert [place for place, key in enumerate(keys) if key == keys[0]] == alike
    assert limit(id="2", per=per).key("ann", MARK) != spec.key("ann", MARK)


def test_no_limits_are_false_and_the_refusal_names_the_limit_and_the_seconds() -> None:
    assert not Rates()
    assert Rates([limit()])
    assert limit().told(7) == "The limit 'some' allows 3 calls in 10 s for each principal. Wait 7 s."
    assert limit(per="org", calls=1).told(1) == "The limit 'some' allows 1 call in 10 s. Wait 1 s."


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


STEPS = st.lists(st.tuples(st.floats(0, 12), st.sampled_from(["a", "b", "both"])), max_size=60)


@given(STEPS)
def test_no_window_ever_holds_too_many_and_the_wait_is_exact(steps: list[tuple[float, str]]) -> None:
    clock = Clock()
    windows = Windows(clock)
    sizes = {"a": Window("a", 3, 10), "b": Window("b", 5, 20)}
    passed: dict[str, list[float]] = {"a": [], "b": []}
    for step, which in steps:
        clock.now += step
        names = ["a", "b"] if which == "both" else [which]
        recent = {name: [at for at in passed[name] if at > clock.now - sizes[name].seconds] for name in names}
        full = windows.take([sizes[name] for name in names])
        fits = all(len(recent[name]) < sizes[name].calls for name in names)
        assert (full is None) == fits
        if full is None:
            for name in names:
                passed[name].append(clock.now)
        else:
            place, left = full
            window = sizes[names[place]]
            assert left == recent[names[place]][-window.calls] + window.seconds - clock.now
            assert 0 < left <= window.seconds


def test_memory_is_bounded_and_what_was_used_last_is_kept() -> None:
    windows = Windows(Clock())
    own = Window("own", 1, 10)
    assert windows.take([own]) is None
    for number in range(MOST_WINDOWS):
        if number % 1_000 == 0:
            assert windows.take([own]) is not None
        windows.take([Window(str(number), 1, 10)])
    assert len(windows._calls) <= MOST_WINDOWS
    assert windows.take([own]) is not None


def test_what_was_found_is_remembered_by_roles_upstream_and_name_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "MOST_FOUND", 2)
    notes, mail = limit(upstreams=("notes",)), limit(id="2", upstreams=("mail",))
    found, walks = Rates([notes, mail]), []

    class Walked(tuple[RateSpec, ...]):
        def __iter__(self) -> Iterator[RateSpec]:
            walks.append(1)
            return super().__iter__()

    found._specs = Walked(found._specs)  # type: ignore[misc]  # to count
    for _ in range(2):
        assert found.of(ROLES, MARK) == (notes,)
        assert found.of(ROLES, Target("tool", "mail", "mark", Risk.READ)) == (mail,)
    assert len(walks) == 2
    assert found.of(frozenset(), MARK) == (notes,)
    assert len(found._found) == 1
    assert len(walks) == 3


def test_the_keys_that_limits_count_by() -> None:
    assert [limit(per=per).key("ann", MARK) for per in PERS] == ["1/ann", "1/", "1/notes", "1/notes/mark"]
