"""Where the CPU of a call goes: `python -m bench.profile ERA`, in the environment of a hub that does not run.

Calls go through the whole hub from memory (`tests.speed.call_path`); a timer on the process's CPU time looks every
millisecond which part of the hub is at work. What the generator's side spends is left out, and so are the system
calls toward clients, of which there are none here.
"""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
import uvloop

from tests.harness.hub import ROOT, Hub, servers_file
from tests.speed import call_path

EVERY_S: Final = 0.001
ROUNDS: Final = 400
WRITER: Final = "record: the writer's thread (redaction, chain, SQLite)"
LOOP: Final = "event loop, tasks, system calls"
DOUBLE: Final = "the client's double"
LAYERS: Final = (
    (("tests/", "bench/"), DOUBLE),
    (("gateway/server/", "uvicorn/", "channels/", "mcphub/asgi"), "server: HTTP toward the client"),
    (
        ("gateway/edge/", "gateway/eras/", "mcphub/core/strictjson", "gateway/sessions"),
        "edge: headers, key, JSON, reply",
    ),
    (("audit/",), "record: events handed to the writer"),
    (("upstreams/",), "connection to the upstream"),
    (("gateway/", "policies/", "mcphub/"), "core: names, policy, intent, result"),
)


class Sampler:
    """Charges the CPU time since the last look to the part that is at work, or to the writer's thread."""

    def __init__(self) -> None:
        self.spent_s: Counter[str] = Counter()
        self._main = self._all = 0.0

    def start(self) -> None:
        """Begin; for the main thread only."""
        self._main, self._all = time.thread_time(), time.process_time()
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def stop(self) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, number: int, frame: FrameType | None) -> None:
        main, all_ = time.thread_time(), time.process_time()
        self.spent_s[_layer(frame)] += main - self._main
        self.spent_s[WRITER] += (all_ - self._all) - (main - self._main)
        self._main, self._all = main, all_


def _layer(frame: FrameType | None) -> str:
    while frame is not None:
        place = frame.f_code.co_filename.removeprefix(f"{ROOT}/").rpartition("site-packages/")[2]
        for starts, layer in LAYERS:
            if place.startswith(starts):
                return LOOP if layer == DOUBLE and frame.f_code.co_name in ("<module>", "measure") else layer
        frame = frame.f_back
    return LOOP


async def sample(era: str) -> dict[str, float]:
    """µs a call by part."""
    sampler = Sampler()
    async with call_path.calls() as caller:
        call = await caller(era)
        await call_path.together(call)
        sampler.start()
        for _ in range(ROUNDS):
            await call_path.together(call)
        sampler.stop()
    calls = call_path.CALLS * ROUNDS
    return {part: spent / calls * 1e6 for part, spent in sampler.spent_s.most_common() if part != DOUBLE}


def profile(folder: Path, base: str, era: str) -> dict[str, float]:
    """`sample` in a process of its own, before the upstream at `base`."""
    with Hub(folder, key=call_path.KEY) as hub:
        config = servers_file(folder / "servers.json", {"speed": {"url": f"{base}/mcp"}})
        hub.up("--config", str(config)).until_listed("speed")
        hub.terminate()
        environment = hub.environment | {"DJANGO_SETTINGS_MODULE": "mcphub.settings"}
        command = [sys.executable, "-m", "bench.profile", era]
        done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=120)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=dict[str, float])


if __name__ == "__main__":
    uvloop.install()
    print(msgspec.json.encode(asyncio.run(sample(sys.argv[1]))).decode())
