"""Honest clients that call while others do not behave, and how long they wait."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Final, Self

import httpx

from tests.harness.raw import ERAS, RpcFailed, raw_client

TOOL: Final = "evil__act"
CLIENTS: Final = 4


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


def p99(waits_s: Sequence[float]) -> float:
    """The 99th percentile, in seconds; of at least 100 waits."""
    return statistics.quantiles(waits_s, n=100)[-1]


def steady(windows: Sequence[Sequence[float]]) -> float:
    """The median of the windows' 99th percentiles: one stall of the machine moves it little."""
    return statistics.median(p99(window) for window in windows)
