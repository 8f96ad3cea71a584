"""A Redis that is gone: one process serves calls as before and says that something is missing (F31).

What several processes lose without it stands in `tests/scale`.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.storage import Outage, Stored, stored
from tests.harness.raw import ERAS, raw_client
from tests.harness.services import Redis

CALLS = 50


@pytest.fixture
def at(tmp_path: Path, redis: Redis) -> Iterator[Stored]:
    with stored("serve-postgresql", tmp_path, redis_url=redis.url) as hub:
        yield hub


@pytest.mark.requirement("F31", "X5")
async def test_f31_calls_go_on_without_redis_and_readiness_names_it(at: Stored, redis: Redis):
    outage = Outage(at)
    redis.stop()
    ready = httpx.get(f"{at.hub.url}/ready")
    assert (ready.status_code, set(ready.json()["parts"])) == (503, {"redis"})
    assert httpx.get(f"{at.hub.url}/healthz").status_code == httpx.codes.OK
    for era in ERAS:
        async with raw_client(at.hub.mcp_url, at.hub.key, era) as client:
            assert await outage.crowd(client, CALLS) == (CALLS, 0)
    redis.start()
    outage.expect_back()
