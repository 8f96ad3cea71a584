"""SIGTERM under load, over and over: what ran is answered, what is not answered has not run (F23)."""

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from tests.faults.conftest import evil_upstream
from tests.faults.histories import Told, faults, join, joined, record
from tests.faults.truth import Truth
from tests.harness.hub import Hub
from tests.harness.installs import Install, installed
from tests.harness.processes import until_gone
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.upstreams import sdk_stdio
from tests.soak.callers import Callers
from tests.soak.finding import Finding

NOTICE_S: Final = 0.3
PAUSE_S: Final = 0.2
LISTENERS: Final = 3
CALLS: Final = 60


async def drained(install: Install, folder: Path, terms: int) -> Finding:
    """End a hub `terms` times under load and with open streams, start it again, and read all histories."""
    with (
        evil_upstream(folder, "both", sdk=sdk_stdio(folder / "marks")) as (servers, truth),
        installed(install, folder / "hub", servers, limits=f"drain_notice_s={NOTICE_S}") as (hub, _),
    ):
        ends = []
        for turn in range(terms):
            await asyncio.to_thread(hub.until_listed, "evil", "sdk")
            ends.append(_Ending(hub, random.Random(turn)))
            await ends[-1].run()
            await asyncio.to_thread(hub.restart)
        return _found(hub, truth, ends)


def _found(hub: Hub, truth: Truth, ends: Sequence["_Ending"]) -> Finding:
    told = [each for end in ends for each in end.told]
    answered = {each.nonce for each in told if each.error is None}
    joined(hub, truth, [each for each in told if each.nonce in answered])
    histories = join(told, truth, record(hub))
    wrong = [fault for end in ends for fault in end.faults] + faults(histories)
    lost = [each.nonce for each in histories.values() if each.ran and each.nonce not in answered]
    wrong += [f"{nonce} ran, and its answer was lost" for nonce in lost]
    counts = f"{len(answered):,} answered, {len(told) - len(answered):,} told to come again"
    seen = f"0 lost answers; {counts}; longest end {max(end.took_s for end in ends):.1f} s"
    return Finding(f"{len(ends)} SIGTERMs under load with open streams, exit code 0 each time", seen, tuple(wrong))


class _Ending:
    """One end of a hub, and what its clients and its children see of it."""

    def __init__(self, hub: Hub, chance: random.Random) -> None:
        self._hub: Final = hub
        self._chance: Final = chance
        self._callers: Final = Callers(hub.mcp_url, hub.key, pause=PAUSE_S)
        self.faults: Final[list[str]] = []
        self.took_s = 0.0

    @property
    def told(self) -> list[Told]:
        return self._callers.told

    async def run(self) -> None:
        """SIGTERM at some moment after the first answers; return when everything has ended."""
        listening = asyncio.Barrier(2 * LISTENERS + 1)
        news = [asyncio.create_task(self._listen(era, listening)) for era in ERAS for _ in range(LISTENERS)]
        await listening.wait()
        calling = asyncio.create_task(self._callers.run(lambda: False))
        await self._callers.answered(CALLS)
        await asyncio.sleep(self._chance.random() * PAUSE_S)  # the moment of the signal is the point
        await asyncio.to_thread(self._end)
        await asyncio.gather(calling, *news)
        reasons = {(each.error or {}).get("reason") for each in self.told} - {None}
        if reasons - {"draining"}:
            self.faults.append(f"clients were told {reasons}")

    def _end(self) -> None:
        below = self._hub.children()
        began = time.monotonic()
        if (code := self._hub.process.stop(signal.SIGTERM)) != 0:
            self.faults.append(f"exit code {code}")
        self.took_s = time.monotonic() - began
        until_gone(below)

    async def _listen(self, era: Era, listening: asyncio.Barrier) -> None:
        """Hold a stream of news, which must end in good order."""
        async with raw_client(self._hub.mcp_url, self._hub.key, era) as client, client.news() as stream:
            await listening.wait()
            try:
                async for _ in stream.aiter_bytes():
                    pass
            except httpx.HTTPError as error:
                self.faults.append(f"a stream of news broke off: {error!r}")
