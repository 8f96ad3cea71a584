"""A long life among faults: the hub holds no more at its end than after its first minutes (promise 10)."""

import asyncio
import itertools
import json
import os
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.faults.conftest import evil_upstream
from tests.harness.hub import Hub
from tests.harness.raw import ERAS, Era, RpcFailed, raw_client
from tests.harness.upstreams import sdk_stdio
from tests.soak.finding import Finding

LIMITS: Final = "call_s=3,call_hard_s=4,session_idle_s=60,session_flush_s=10"
"""Visitors leave their sessions behind, which end by themselves: here within the warm-up, else after an hour."""

WARM_SHARE: Final = 1 / 3
SAMPLE_S: Final = 2
REST_S: Final = 0.02
MOST_MB_PER_HOUR: Final = 1
LONG_S: Final = 600
"""Memory of a process that has just begun grows; from this length on its slope says something."""

SPARE_DESCRIPTORS: Final = 24
"""How much the number of open connections differs from one moment to the next under this load."""

FAULTS: Final[Sequence[dict[str, Any]]] = (
    {"do": "die"},
    {"do": "hang"},
    {"do": "drip"},
    {"do": "garbage", "body": "{not json"},
    {"do": "wrong_id"},
    {"do": "huge", "bytes": 20 * 2**20},
    {"do": "bomb"},
    {"do": "cut"},
    {"do": "forget"},
    {"do": "status", "status": 429, "headers": {"Retry-After": "1"}},
    {"do": "status", "status": 500, "body": "<html>"},
    {"do": "status", "status": 302, "headers": {"Location": "http://169.254.169.254/"}},
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the hub's process held at one moment; `memory_mb` is memory of its own, without files."""

    at_s: float
    memory_mb: float
    descriptors: int
    children: int


class Mixed:
    """Honest clients beside faults, clients that come and go, and clients that leave in mid-call."""

    def __init__(self, hub: Hub) -> None:
        self._hub: Final = hub
        self._enough = False
        self.answered = 0
        self.provoked = 0
        self.wrong: Final[list[str]] = []
        self.samples: Final[list[Sample]] = []

    async def run(self, seconds: float) -> None:
        """Keep all of it up for that long."""
        began = time.monotonic()
        lanes = [lane(era) for era in ERAS for lane in (self._honest, self._honest, self._faults, self._visitors)]
        working = asyncio.gather(*lanes, self._leavers())
        while time.monotonic() - began < seconds:
            self.samples.append(_sample(self._hub, time.monotonic() - began))
            await asyncio.sleep(SAMPLE_S)  # a sample is of a moment
        self._enough = True
        await working

    async def _honest(self, era: Era) -> None:
        async with raw_client(self._hub.mcp_url, self._hub.key, era) as client:
            for number in itertools.count():
                if self._enough:
                    return
                tool = "sdk__echo" if number % 8 == 0 else "evil__act"
                answer = await client.call(tool, do="echo", text=str(number))
                if answer.get("isError") or answer["content"][0]["text"] != str(number):
                    self.wrong.append(f"{era} call {number} was answered with {answer}")
                self.answered += 1
                await asyncio.sleep(REST_S)  # the pace of the load

    async def _faults(self, era: Era) -> None:
        async with raw_client(self._hub.mcp_url, self._hub.key, era) as client:
            for arguments in itertools.cycle(FAULTS):
                if self._enough:
                    return
                with suppress(RpcFailed):
                    await client.call("worse__act", **arguments)
                self.provoked += 1
                await asyncio.sleep(REST_S)

    async def _visitors(self, era: Era) -> None:
        """Come, open a stream of news, call once, and go without a word."""
        while not self._enough:
            async with raw_client(self._hub.mcp_url, self._hub.key, era) as client, client.news() as stream:
                await anext(aiter(stream.aiter_bytes()))
                await client.call("evil__act", do="echo", text="hello")
            await asyncio.sleep(REST_S)

    async def _leavers(self) -> None:
        """Call something that takes its time, and leave."""
        chance = random.Random(1)
        while not self._enough:
            with suppress(TimeoutError, httpx.HTTPError):
                async with (
                    asyncio.timeout(0.3 + chance.random() / 2),
                    raw_client(self._hub.mcp_url, self._hub.key, "modern") as client,
                ):
                    await client.call("worse__act", do="hang")


async def mixed(folder: Path, seconds: float) -> Finding:
    """Run the load for that long and look at what the hub held after the first third of it."""
    with _hub(folder) as hub:
        load = Mixed(hub)
        await load.run(seconds)
        hub.terminate()
        if not json.loads(hub.manage("verify_audit", "--json"))["ok"]:
            load.wrong.append("verify_audit finds the record altered")
    kept = [sample for sample in load.samples if sample.at_s >= seconds * WARM_SHARE]
    slope = mb_per_hour(kept)
    wrong = load.wrong + (
        [f"memory grows by {slope:.1f} MB/h"] if slope >= MOST_MB_PER_HOUR and seconds >= LONG_S else []
    )
    wrong += _grown("descriptors", kept, lambda sample: sample.descriptors, SPARE_DESCRIPTORS)
    wrong += _grown("children", kept, lambda sample: sample.children, 0)
    memory = [sample.memory_mb for sample in kept]
    seen = (
        f"memory {min(memory):.1f} to {max(memory):.1f} MB, slope {slope:+.2f} MB/h after warm-up;"
        f" descriptors {_span(sample.descriptors for sample in kept)}, children {_span(s.children for s in kept)}"
    )
    done = (
        f"{seconds / 60:.0f} minutes: {load.answered:,} honest calls, all answered, beside {load.provoked:,} faults"
    )
    return Finding(done, seen, tuple(wrong))


def mb_per_hour(samples: Sequence[Sample]) -> float:
    """The slope of memory: the median of the slopes between all pairs of medians of ten stretches (Theil and Sen)."""
    size = max(1, len(samples) // 10)
    stretches = [samples[at : at + size] for at in range(0, len(samples) - size + 1, size)]
    points = [
        (statistics.median(s.at_s for s in one), statistics.median(s.memory_mb for s in one)) for one in stretches
    ]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.combinations(points, 2)]
    return statistics.median(slopes) * 3600 if slopes else 0


def _grown(what: str, samples: Sequence[Sample], of: Callable[[Sample], int], spare: int) -> list[str]:
    """Whether the last quarter has more of something than the first ever had."""
    quarter = max(1, len(samples) // 4)
    first, last = max(map(of, samples[:quarter])), statistics.median(map(of, samples[-quarter:]))
    return [f"{what} grew from {first} to {last}"] if last > first + spare else []


def _span(values: Iterable[int]) -> str:
    seen = sorted(values)
    return f"{seen[0]} to {seen[-1]}"


def _sample(hub: Hub, at_s: float) -> Sample:
    pid = hub.process.pid
    anonymous = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert anonymous is not None
    return Sample(at_s, int(anonymous[1]) / 1024, len(os.listdir(f"/proc/{pid}/fd")), len(hub.children()))


@contextmanager
def _hub(folder: Path) -> Iterator[Hub]:
    """`serve` on SQLite with an honest upstream, a worse one, and one over stdio."""
    (folder / "worse").mkdir()
    with evil_upstream(folder / "worse", "both") as (other, _):
        worse = json.loads(other.read_text())["mcpServers"]["evil"]
        with (
            evil_upstream(folder, "both", worse=worse, sdk=sdk_stdio(folder / "marks")) as (servers, _),
            Hub(folder / "hub", key=None, limits=LIMITS) as hub,
        ):
            hub.prepare(servers)
            yield hub.serve().until_listed("evil", "worse", "sdk")
