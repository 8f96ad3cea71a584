"""One measurement: a load run in a process of its own, and what it cost the target."""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bench.load import Load, Measured
from bench.machine import on_core, tree_cpu_s, tree_memory_kb
from bench.targets import LOAD_CORE, Target
from tests.harness.hub import ROOT

LIMIT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over all rounds of one target under one load; `cpu_us` is the target's, per call."""

    target: str
    clients: int
    rounds: tuple[float, ...]
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us: float | None

    @property
    def per_second(self) -> float:
        return statistics.median(self.rounds)


def rows(targets: Sequence[Target], rounds: int, **load: Any) -> list[Row]:
    """Run the load `rounds` times on each target, by turns, so that what else the machine does hits all alike.

    Raises when an answer was wrong.
    """
    done: dict[Target, list[tuple[Measured, float]]] = {target: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            done[target].append(_round(target, load))
    return [_row(target, load, done[target]) for target in targets]


def _row(target: Target, load: dict[str, Any], done: list[tuple[Measured, float]]) -> Row:
    measured = [each for each, _ in done]
    return Row(
        target=target.name,
        clients=load.get("clients", 1),
        rounds=tuple(each.per_second for each in measured),
        p50_ms=statistics.median(each.p50_ms for each in measured),
        p95_ms=statistics.median(each.p95_ms for each in measured),
        p99_ms=statistics.median(each.p99_ms for each in measured),
        cpu_us=None if target.pid is None else statistics.median(cpu for _, cpu in done),
    )


def _round(target: Target, load: dict[str, Any]) -> tuple[Measured, float]:
    before = 0.0 if target.pid is None else tree_cpu_s(target.pid)
    measured = _generate(Load(url=target.url, key=target.key, key_header=target.key_header, tool=target.tool, **load))
    used = 0.0 if target.pid is None else tree_cpu_s(target.pid) - before
    return measured, used / measured.all_calls * 1e6


def _generate(load: Load) -> Measured:
    with _generator(load) as running:
        said, fault = running.communicate(timeout=LIMIT_S)
    if running.returncode:
        raise RuntimeError(f"{load}: {fault.strip().splitlines()[-1]}")
    return msgspec.json.decode(said.encode(), type=Measured)


def _generator(load: Load) -> "subprocess.Popen[str]":
    """The load in a process of its own; at the end of the block its standard input ends, and so does it."""
    command = [sys.executable, "-m", "bench.load", msgspec.json.encode(load).decode()]
    pipe = subprocess.PIPE
    with on_core(LOAD_CORE):
        return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def stream_kb(target: Target, count: int) -> float:
    """Memory that the target's process tree grows by per handshake session whose event stream is open, in kB."""
    assert target.pid is not None
    before = tree_memory_kb(target.pid)
    load = Load(url=target.url, key=target.key, idle_sessions=count, streams=True)
    with _generator(load) as running:
        assert running.stdout is not None
        if running.stdout.readline() != "streaming\n":
            raise RuntimeError(f"{target.name} opens no {count} streams")
        return (tree_memory_kb(target.pid) - before) / count


def session_kb(target: Target, count: int) -> float:
    """Memory that the target's process tree grows by per idle handshake session, in kB."""
    assert target.pid is not None
    _generate(Load(url=target.url, key=target.key, idle_sessions=count // 4))
    before = tree_memory_kb(target.pid)
    _generate(Load(url=target.url, key=target.key, idle_sessions=count))
    return (tree_memory_kb(target.pid) - before) / count
