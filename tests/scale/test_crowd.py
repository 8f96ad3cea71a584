"""Ten thousand mixed calls through two web processes behind plain round-robin: none lost, none crossed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.proxy import round_robin
from tests.harness.waiting import until
from tests.scale.conftest import Pair
from tests.scale.crowd import KINDS, Seen, crowd

CALLERS = 20
CALLS = 500


@pytest.mark.requirement("N5", "X6", "P7", "P8", "P12", "P18")
@pytest.mark.timeout(400)
async def test_ten_thousand_mixed_calls_are_answered_and_none_is_crossed(pair: Pair) -> None:
    keys = await asyncio.to_thread(keys_of, pair)
    async with round_robin(*pair.ports) as (proxy, url):
        seen = await crowd(url, keys, CALLERS, CALLS)
    assert seen.answers == {kind: CALLERS * CALLS * share // 100 for kind, share in KINDS.items()}
    assert seen.answers.total() == 10_000
    expect_each_once(pair, seen)
    assert min(proxy.requests.values()) > 0.4 * sum(proxy.requests.values())


def keys_of(pair: Pair) -> list[str]:
    """The keys of four principals."""

    def made(name: str) -> str:
        hub = pair.hubs[0]
        return str(hub.manage_json("create_key", name, "--org", "default", "--role", "operator")["key"])

    with ThreadPoolExecutor() as threads:
        return [pair.shared.key, *threads.map(made, ("second", "third", "fourth"))]


def expect_each_once(pair: Pair, seen: Seen) -> None:
    """The one child has run what was asked of it exactly once, and each call that was given up has ended there."""
    first = min(seen.tallies)
    assert sorted(seen.tallies) == list(range(first, first + len(seen.tallies)))
    assert len(pair.starts()) == 1
    ended = {f"ended-{gate}" for gate in seen.given_up}
    until("the end of what was given up", lambda: ended <= set(pair.marks()))
    assert sum(mark.startswith("ended-") for mark in pair.marks()) == len(ended)
