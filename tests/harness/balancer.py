"""A balancer that asks `/healthz`: a backend gets requests while it says that it is well."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import httpx

from tests.harness.proxy import RoundRobin

LOOK_S: Final = 0.1
PATIENCE_S: Final = 10


class Balancer(RoundRobin):
    """A plain round robin over the backends that were well when they were last asked."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(ports)
        self.well: frozenset[int] = frozenset()
        self._changed = asyncio.Condition()

    async def watch(self) -> None:
        """Ask every backend again and again, for ever, each for itself."""
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            await asyncio.gather(*(self._watch(http, port) for port in self.ports))

    async def _watch(self, http: httpx.AsyncClient, port: int) -> None:
        while True:
            well = await _is_well(http, port)
            async with self._changed:
                self.well = self.well | {port} if well else self.well - {port}
                self._changed.notify_all()
            await asyncio.sleep(LOOK_S)

    async def until(self, port: int, well: bool, within: float) -> None:
        """Wait until that backend is known to be well, or not."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: (port in self.well) == well)

    async def backend(self) -> int:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: self.well)
        while (port := await super().backend()) not in self.well:
            pass
        return port


async def _is_well(http: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def balancer(*ports: int) -> AsyncIterator[tuple[Balancer, str]]:
    """A running balancer in front of these ports, and its URL."""
    proxy = Balancer(ports)
    watching = asyncio.create_task(proxy.watch())
    async with await asyncio.start_server(proxy.handle, "127.0.0.1", 0) as server:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
