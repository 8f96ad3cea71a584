"""How long a hub takes to start, and what it costs: with an empty folder, where it makes its tables, and again."""

import os
import time
from pathlib import Path
from typing import Final

from bench import report
from bench.machine import tree_cpu_s
from tests.harness.hub import Hub

NEXT: Final = 3


class Fresh(Hub):
    """Begins without tables."""

    def _lay_out(self) -> None:
        return None


def measure(folder: Path) -> str:
    """A table: until the hub is ready, wall clock and CPU of its process."""
    found = []
    with Fresh(folder / "fresh") as hub:
        for name in ("first start, empty folder", *["next start"] * NEXT):
            began = time.perf_counter()
            hub.up()
            took = time.perf_counter() - began
            found.append([name, f"{took:.2f}", f"{tree_cpu_s(hub.process.pid):.2f}"])
            hub.terminate()
        began, before = time.perf_counter(), os.times()
        hub.manage("create_org", "another")
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        found.append(["a command (create_org)", f"{time.perf_counter() - began:.2f}", f"{spent:.2f}"])
    return report.table(["", "seconds", "CPU seconds"], found)
