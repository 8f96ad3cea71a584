"""What the operating system tells: CPU and memory of a process tree, cores, the machine's name."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.harness.processes import children

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
CORES: Final = sorted(os.sched_getaffinity(0))
"""The cores that this process was given, before it kept anything to one of them."""


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Whatever is started in the block runs on this core alone, also in a block within a block for another core; on
    a machine with one core, on that."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CORES[number % len(CORES)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree_cpu_s(pid: int) -> float:
    """Seconds of CPU that a process and its living descendants have used."""
    return sum(_cpu_s(each) for each in {pid, *children(pid)})


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def tree_memory_kb(pid: int) -> int:
    """Proportional set size of a process and its descendants, in kB (1,024 bytes)."""
    return sum(_pss_kb(each) for each in {pid, *children(pid)})


def _pss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def description() -> str:
    """Processor, cores, memory, system and Python, in one line."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}, Python {platform.python_version()}"


def load_average() -> float:
    """Of the last minute: what else the machine was doing."""
    return os.getloadavg()[0]
