"""slowhttptest (Debian): slow headers, bodies and reading, while honest clients measure how long they wait (F45)."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

from tests.faults.baseline import WatchedHub
from tests.faults.conftest import evil_upstream
from tests.soak.finding import Finding
from tests.soak.honest import Honest

PROGRAM: Final = "slowhttptest"
Attack = Literal["headers", "bodies", "reading"]
ATTACKS: Final[dict[Attack, Sequence[str]]] = {
    "headers": ("-H", "-i", "5", "-t", "GET", "-x", "24"),
    "bodies": ("-B", "-i", "5", "-t", "POST", "-s", "8192", "-x", "10"),
    "reading": ("-X", "-w", "1", "-y", "1", "-n", "5", "-z", "32", "-k", "3"),
}
"""What to be slow with, and the flags for it; every 5 seconds a little more."""

RATIO: Final = 2.0
STARTED_S: Final = 2.0
ATTACK_S: Final = 600
LIMITS: Final = "source_connections=20000"
"""All come from one address here, as honest clients do; the limit by address is proved apart."""


def is_installed() -> bool:
    """Whether slowhttptest is there."""
    return shutil.which(PROGRAM) is not None


async def slowed(folder: Path, attack: Attack, connections: int) -> Finding:
    """Let slowhttptest hold `connections` while honest clients are measured; they must hardly notice."""
    with evil_upstream(folder, "both") as (servers, _), WatchedHub(folder / "hub", key=None, limits=LIMITS) as hub:
        hub.prepare(servers)
        hub.serve().until_listed("evil")
        async with Honest(hub.mcp_url, hub.key) as honest:
            await honest.answered(200)
            before_ms = await honest.p99_ms()
            async with attacked(hub, attack, connections, ATTACK_S):
                await asyncio.sleep(STARTED_S)  # the attack is what is measured, not its beginning
                meanwhile_ms = await honest.p99_ms()
            await honest.answered(20)
        faults = list(honest.failures)
        faults += [f"p99 {meanwhile_ms:.1f} ms, {before_ms:.1f} without"] * (meanwhile_ms > RATIO * before_ms)
    return Finding(
        f"slowhttptest, slow {attack}, {connections} connections",
        f"honest p99 {before_ms:.1f} ms before, {meanwhile_ms:.1f} ms meanwhile",
        tuple(faults),
    )


@asynccontextmanager
async def attacked(hub: WatchedHub, attack: Attack, connections: int, seconds: int) -> AsyncIterator[None]:
    """While the block lasts, `seconds` at most."""
    url = f"{hub.url}/health" if attack == "reading" else hub.mcp_url
    flags = [*ATTACKS[attack], "-c", str(connections), "-r", str(connections), "-l", str(seconds), "-u", url]
    attacker = await asyncio.create_subprocess_exec(PROGRAM, *flags, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield
    finally:
        if attacker.returncode is None:
            attacker.terminate()
        await attacker.wait()
