"""Clients that call without pause, whatever happens to the hub."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httpx

from tests.faults.histories import Told, tell
from tests.harness.raw import ERAS, Era, RawClient, raw_client

AT_ONCE: Final = 16
TOOL: Final = "evil__act"


class Callers:
    """`AT_ONCE` clients of both eras, each with one call under way. Histories of what they were told.

    `told` are calls that were answered, `cut` what became of the others: an HTTP answer that is no result of the
    call, or the error of the connection.
    """

    def __init__(self, url: str, key: str, tool: str = TOOL, **arguments: Any) -> None:
        self._url: Final = url
        self._key: Final = key
        self._tool: Final = tool
        self._arguments: Final = {"do": "echo", **arguments}
        self.told: Final[list[Told]] = []
        self.cut: Final[list[Exception]] = []
        self._grown = asyncio.Condition()

    async def run(self, until: Callable[[], bool]) -> None:
        """Call until `until` says so, or each client's connection has failed."""
        await asyncio.gather(*(self._call(ERAS[number % 2], until) for number in range(AT_ONCE)))

    async def answered(self, count: int) -> None:
        """Wait until that many calls were answered. Bounded by the test's own limit."""
        async with self._grown:
            await self._grown.wait_for(lambda: len(self.told) >= count)

    async def _call(self, era: Era, until: Callable[[], bool]) -> None:
        try:
            async with raw_client(self._url, self._key, era) as client:
                while not until():
                    await self._one(client)
        except (httpx.HTTPError, KeyError) as error:
            self.cut.append(error)

    async def _one(self, client: RawClient) -> None:
        told = await tell(client, self._tool, **self._arguments)
        async with self._grown:
            self.told.append(told)
            self._grown.notify_all()
