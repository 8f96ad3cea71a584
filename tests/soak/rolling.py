"""Two web processes restarted in turn behind a balancer, under load, without an error for any client (F26)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from tests.faults.conftest import evil_upstream
from tests.faults.histories import faults, joined
from tests.faults.truth import Truth
from tests.harness.balancer import Balancer, balancer
from tests.harness.hub import Hub
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import sdk_stdio
from tests.soak.callers import Callers
from tests.soak.finding import Finding

NOTICE_S: Final = 1
PAUSE_S: Final = 0.3
CALLS: Final = 100
BACK_S: Final = 60

Two = tuple[Hub, Hub]


async def rolled(folder: Path, restarts: int) -> Finding:
    """Restart the processes in turn, `restarts` times in all, while clients of both eras call through a balancer."""
    with _two(folder) as (hubs, truth):
        async with _calling(hubs) as (proxy, callers):
            for turn in range(restarts):
                before = len(callers.told)
                await _restart(hubs[turn % 2], proxy)
                await callers.answered(before + CALLS)
        wrong = [f"a client failed: {error!r}" for error in callers.cut]
        wrong += [f"a client was told {each.error}" for each in callers.told if each.error is not None]
        wrong += faults(joined(hubs[0], truth, callers.told))
        shares = ", ".join(f"{count:,}" for count in proxy.requests.values())
        seen = f"0 client errors in {len(callers.told):,} calls of both eras; requests per process {shares}"
        return Finding(f"{restarts} restarts of two `serve` processes in turn, under load", seen, tuple(wrong))


async def _restart(hub: Hub, proxy: Balancer) -> None:
    below = await asyncio.to_thread(hub.terminate)
    assert below == 0, f"exit code {below}"
    await proxy.until(hub.port, well=False, within=BACK_S)
    await asyncio.to_thread(hub.restart)
    await proxy.until(hub.port, well=True, within=BACK_S)


@asynccontextmanager
async def _calling(hubs: Two) -> AsyncIterator[tuple[Balancer, Callers]]:
    """Clients that call through a balancer until the block ends; each finishes its last call."""
    async with balancer(*(hub.port for hub in hubs)) as (proxy, url):
        callers, enough = Callers(f"{url}/mcp", hubs[0].key, pause=PAUSE_S), asyncio.Event()
        calling = asyncio.create_task(callers.run(enough.is_set))
        await callers.answered(CALLS)
        yield proxy, callers
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
