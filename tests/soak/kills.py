"""SIGKILL under load, over and over: nothing that an upstream saw is missing from the record (F24, F25)."""

import asyncio
import json
import random
from pathlib import Path
from typing import Final

from tests.faults.conftest import evil_upstream
from tests.faults.histories import Told, faults, join, record
from tests.faults.truth import Truth
from tests.harness.hub import Hub
from tests.harness.installs import Install, installed
from tests.soak.callers import Callers
from tests.soak.finding import Finding

LIMITS: Final = "audit_silent_s=1"
PAUSE_S: Final = 0.03
"""How long the upstream takes, so that death finds calls in every state."""

AFTER_AN_ANSWER: Final = ("completed", "unknown")
"""An outcome may die with its process, never an intent."""

RECONCILE: Final = "from audit.services import reconcile; reconcile()"


async def killed(install: Install, folder: Path, kills: int, calls: int) -> Finding:
    """Kill a hub `kills` times in the middle of at least `calls` calls, start it again, and read all histories."""
    with (
        evil_upstream(folder, "both") as (servers, truth),
        installed(install, folder / "hub", servers, limits=LIMITS) as (hub, _),
    ):
        hub.until_listed("evil")
        told: list[Told] = []
        for turn in range(kills):
            told += await _until_killed(hub, random.Random(turn), calls // kills)
            await asyncio.to_thread(hub.restart)
        await asyncio.to_thread(hub.terminate)
        hub.manage("shell", "--no-imports", "--command", RECONCILE)
        return _found(hub, truth, kills, told)


async def _until_killed(hub: Hub, chance: random.Random, calls: int) -> list[Told]:
    """At least `calls` calls, and death at some moment after them."""
    callers = Callers(hub.mcp_url, hub.key, pause=PAUSE_S)
    calling = asyncio.create_task(callers.run(lambda: False))
    await callers.answered(calls + chance.randrange(max(1, calls // 4)))
    await asyncio.sleep(chance.random() / 50)  # the moment of death is the point
    await asyncio.to_thread(hub.kill)
    await calling
    return callers.told


def _found(hub: Hub, truth: Truth, kills: int, told: list[Told]) -> Finding:
    histories = join((), truth, record(hub))
    wrong = faults(histories)
    wrong += [f"{each.nonce} is still open" for each in histories.values() if each.intents and not each.outcomes]
    wrong += [
        f"{each.nonce} was answered and is recorded as {histories[each.nonce].outcome}"
        for each in told
        if each.error is not None or histories[each.nonce].outcome not in AFTER_AN_ANSWER
    ]
    if not json.loads(hub.manage("verify_audit", "--json"))["ok"]:
        wrong.append("verify_audit finds the record altered")
    calls = sum(each.arrived for each in histories.values())
    cut = sum(each.outcome == "unknown" for each in histories.values())
    done = f"{kills} SIGKILLs, {calls:,} calls that the upstream saw"
    seen = f"{len(told):,} answered, {cut:,} shown as unknown; 0 not on record, 0 run twice, record verified"
    return Finding(done, seen, tuple(wrong))
