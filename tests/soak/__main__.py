"""`make soak`: the long proofs, one after the other, and their lines in `docs/reliability.md`.

`ARGS="--part kills-sqlite --part drains-up"` runs only these; `--share 0.05` a twentieth of the length, for a first
impression, and leaves the page alone. Exit code 1 when a promise was not kept.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.soak import page
from tests.soak.drains import drained
from tests.soak.echoes import echoed
from tests.soak.finding import Finding
from tests.soak.fuzzing import fuzzed
from tests.soak.idle_sessions import idle_sessions
from tests.soak.kills import killed
from tests.soak.mixed import mixed
from tests.soak.rolling import rolled
from tests.soak.slow_clients import slowed


@dataclass(frozen=True, slots=True)
class Length:
    """How much of a full run is wanted, and how many minutes the mixed soak lasts."""

    share: float
    minutes: float

    def of(self, count: int) -> int:
        """That share of `count`, at least one."""
        return max(1, round(count * self.share))


Part = Callable[[Path, Length], Awaitable[Finding]]

PARTS: Final[Mapping[str, Part]] = {
    "kills-sqlite": lambda folder, length: killed("up-sqlite", folder, length.of(100), length.of(10_000)),
    "kills-postgresql": lambda folder, length: killed("serve-postgresql", folder, length.of(100), length.of(10_000)),
    "echoes": lambda folder, length: echoed(folder, length.of(1_000_000)),
    "mixed": lambda folder, length: mixed(folder, length.minutes * 60),
    "rolling": lambda folder, length: rolled(folder, length.of(20)),
    "drains-up": lambda folder, length: drained("up-sqlite", folder, length.of(50)),
    "drains-serve": lambda folder, length: drained("serve-postgresql", folder, length.of(50)),
    "idle-sessions": lambda folder, length: idle_sessions(folder, length.of(10_000)),
    "slow-headers": lambda folder, length: slowed(folder, "headers", length.of(2_000)),
    "slow-bodies": lambda folder, length: slowed(folder, "bodies", length.of(2_000)),
    "slow-reading": lambda folder, length: slowed(folder, "reading", length.of(2_000)),
    "fuzz-json": lambda folder, length: fuzzed(folder, "json", length.of(600)),
    "fuzz-events": lambda folder, length: fuzzed(folder, "events", length.of(600)),
    "fuzz-http": lambda folder, length: fuzzed(folder, "http", length.of(600)),
}


def main() -> int:
    """Run what was chosen; 0 when every promise was kept."""
    arguments = argparse.ArgumentParser(prog="make soak", description=__doc__)
    arguments.add_argument("--part", action="append", choices=sorted(PARTS), help="default: all of them")
    arguments.add_argument("--minutes", type=float, default=20, help="of the mixed soak")
    arguments.add_argument("--share", type=float, default=1, help="of the full length")
    chosen = arguments.parse_args()
    length = Length(chosen.share, chosen.minutes * chosen.share)
    return max([_run(part, length) for part in chosen.part or PARTS])


def _run(part: str, length: Length) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"mcphub-{part}-") as folder:
        found = asyncio.run(PARTS[part](Path(folder), length))
    took_s = time.monotonic() - began
    print(f"{part}: {found.done}; {found.seen}; {took_s:.0f} s", *found.faults, sep="\n  ", flush=True)
    if not found.faults and length.share >= 1:
        page.write(part, found, took_s)
    return bool(found.faults)


if __name__ == "__main__":
    sys.exit(main())
