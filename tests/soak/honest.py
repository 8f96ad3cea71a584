"""Honest clients that call while others do not behave, and how long they wait."""

import asyncio
import statistics
import time
from typing import Final, Self

import httpx

from tests.harness.raw import ERAS, RpcFailed, raw_client

TOOL: Final = "evil__act"
CLIENTS: Final = 4
WINDOWS: Final = 5
WINDOW_CALLS: Final = 200


class Honest:
    """`CLIENTS` clients of both eras that call one after the other, from this process, until the block ends.

    `waits_s` are the seconds of each call, `failures` what was no answer to the call.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url: Final = url
        self._key: Final = key
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.waits_s: Final[list[float]] = []
        self.failures: Final[list[str]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def answered(self, count: int) -> None:
        """Return when so many more calls were answered. Bounded by the caller's own limit."""
        wanted = len(self.waits_s) + count
        while len(self.waits_s) < wanted and not self.failures:
            await asyncio.sleep(0.01)

    async def p99_ms(self) -> float:
        """The median of the 99th percentiles of the next windows: one stall of the machine moves it little."""
        windows = []
        for _ in range(WINDOWS):
            start = len(self.waits_s)
            await self.answered(WINDOW_CALLS)
            windows.append(self.waits_s[start:])
        return statistics.median(statistics.quantiles(window, n=100)[-1] for window in windows) * 1000

    async def _call(self, number: int) -> None:
        try:
            async with raw_client(self._url, self._key, ERAS[number % 2]) as client:
                turn = 0
                while not self._stopping:
                    turn += 1
                    text, began = f"{number}-{turn}", time.monotonic()
                    answer = await client.call(TOOL, id=1, do="echo", text=text)
                    self.waits_s.append(time.monotonic() - began)
                    if answer["content"][0]["text"] != text:
                        self.failures.append(f"{text} was answered {answer}")
        except (httpx.HTTPError, RpcFailed, KeyError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
