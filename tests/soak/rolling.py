"""Two web processes restarted in turn behind a balancer, under load, without an error for any client (F26)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from tests.faults.conftest import evil_upstream
from tests.faults.histories import faults, join, joined, record
from tests.faults.truth import Truth
from tests.harness.balancer import Balancer, balancer
from tests.harness.hub import Hub
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import sdk_stdio
from tests.soak.callers import Callers
from tests.soak.finding import Finding

NOTICE_S: Final = 4
"""Longer than a balancer on a busy machine needs to hear of it."""

PAUSE_S: Final = 0.3
CALLS: Final = 100
BACK_S: Final = 60

Two = tuple[Hub, Hub]


async def rolled(folder: Path, restarts: int) -> Finding:
    """Restart the processes in turn, `restarts` times in all, while clients of both eras call through a balancer."""
    with _two(folder) as (hubs, truth):
        async with balancer(*(hub.port for hub in hubs)) as (proxy, url):
            over_http = Callers(f"{url}/mcp", hubs[0].key, pause=PAUSE_S)
            over_stdio = Callers(f"{url}/mcp", hubs[0].key, "sdk__echo", text="hello")
            async with _calling(over_http, over_stdio):
                for turn in range(restarts):
                    before = len(over_http.told)
                    await _restart(hubs[turn % 2], proxy)
                    await over_http.answered(before + CALLS)
        told = over_http.told + over_stdio.told
        wrong = [f"a client failed: {error!r}" for error in over_http.cut + over_stdio.cut]
        wrong += [f"a client was told {each.error}" for each in told if each.error is not None]
        joined(hubs[0], truth, over_http.told)
        events = [event for event in record(hubs[0]) if event["upstream"] == "evil"]
        wrong += faults(join(over_http.told, truth, events))
        counts = f"{len(over_http.told):,} calls over HTTP, {len(over_stdio.told):,} to one shared child process"
        shares = " and ".join(f"{count:,}" for count in proxy.requests.values())
        done = f"{restarts} restarts of two `serve` processes in turn, under load of both eras"
        return Finding(done, f"0 client errors; {counts}; {shares} requests by process", tuple(wrong))


async def _restart(hub: Hub, proxy: Balancer) -> None:
    below = await asyncio.to_thread(hub.terminate)
    assert below == 0, f"exit code {below}"
    await proxy.until(hub.port, well=False, within=BACK_S)
    await asyncio.to_thread(hub.restart)
    await proxy.until(hub.port, well=True, within=BACK_S)


@asynccontextmanager
async def _calling(*all_of_them: Callers) -> AsyncIterator[None]:
    """Clients that call until the block ends; each finishes its last call."""
    enough = asyncio.Event()
    calling = asyncio.gather(*(callers.run(enough.is_set) for callers in all_of_them))
    for callers in all_of_them:
        await callers.answered(CALLS)
    yield
    enough.set()
    await calling


@contextmanager
def _two(folder: Path) -> Iterator[tuple[Two, Truth]]:
    """Two hubs on one PostgreSQL and one Redis, with an upstream over HTTP and one over stdio."""
    postgresql, redis = PostgreSQL(), Redis(folder / "redis")
    postgresql.start()
    redis.start()
    settings = {
        "database_url": postgresql.url,
        "redis_url": redis.url,
        "data_dir": str(folder / "data"),
        "limits": f"drain_notice_s={NOTICE_S}",
    }
    try:
        with evil_upstream(folder, "both", sdk=sdk_stdio(folder / "marks")) as (servers, truth):
            first = Hub(folder / "one", key=None, **settings)
            first.prepare(servers)
            hubs = first, Hub(folder / "two", key=first.key, **settings)
            with hubs[0], hubs[1]:
                for hub in hubs:
                    hub.serve().until_listed("evil", "sdk")
                yield hubs, truth
    finally:
        redis.stop()
        postgresql.close()
