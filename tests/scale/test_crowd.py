"""Ten thousand mixed calls through two web processes behind plain round-robin: none lost, none crossed."""

import pytest

from tests.harness.proxy import round_robin
from tests.scale.conftest import Pair
from tests.scale.crowd import KINDS, crowd, expect_each_once

CALLERS = 20
CALLS = 500


@pytest.mark.requirement("N5", "X6", "P7", "P8", "P12", "P18")
@pytest.mark.timeout(400)
async def test_ten_thousand_mixed_calls_are_answered_and_none_is_crossed(pair: Pair, keys: list[str]) -> None:
    async with round_robin(*pair.ports) as (proxy, url):
        seen = await crowd(url, keys, CALLERS, CALLS)
    assert seen.answers == {kind: CALLERS * CALLS * share // 100 for kind, share in KINDS.items()}
    assert seen.answers.total() == 10_000
    expect_each_once(pair, seen)
    assert min(proxy.requests.values()) > 0.4 * sum(proxy.requests.values())
