"""`make bench`: measure, print the tables, write `docs/benchmark.md`. Takes about five minutes.

`ARGS="--seconds 0.5 --rounds 1 --no-write"` gives a first impression in a minute and leaves the page alone.
"""

import argparse
import datetime
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench import machine, report
from bench.measuring import Row, row, session_kb
from bench.targets import Target, fastmcp, hub, upstream
from tests.harness.hub import ROOT

PAGE: Final = ROOT / "docs" / "benchmark.md"
CLIENTS: Final = (1, 8, 64)
MANY: Final = 20
WIDE: Final = 50
SESSIONS: Final = 1_000

_ABOUT: Final = """\
The target has one core for itself; the upstream, which only echoes, and the load generator share another.
Closed loop, keep-alive, in the handshake era a session per connection, every answer checked. A call through the
hub includes the API key, the policy decision, a durable audit intent before and an outcome after it, on SQLite.
Figures are medians, rounds per row: {rounds}. A real upstream takes milliseconds: what a gateway adds counts."""


class Bench:
    """One run. Every target is started when its turn comes and ended after it."""

    def __init__(self, folder: Path, base: str, seconds: float, rounds: int) -> None:
        self._folder: Final = folder
        self._base: Final = base
        self._load: Final[dict[str, Any]] = {"seconds": seconds}
        self.rounds: Final = rounds
        self._direct: Final = Target("direct, no gateway", f"{base}/mcp", "echo")

    def folder(self, name: str) -> Path:
        made = self._folder / name
        made.mkdir()
        return made

    def calls(self, era: str) -> list[Row]:
        """Direct, hub and peer, one after the other at each number of clients."""
        one = [f"{self._base}/mcp"]
        with ExitStack() as stack:
            start = stack.enter_context
            targets = [
                self._direct,
                start(hub(self.folder(f"{era}-serve"), one, tools=1)),
                start(hub(self.folder(f"{era}-up"), one, tools=1, daphne=True)),
                start(fastmcp(self.folder(f"{era}-kept"), one, kept=True)),
                start(fastmcp(self.folder(f"{era}-fresh"), one, kept=False)),
            ]
            return [
                row(target, self.rounds, era=era, clients=clients, **self._load)
                for clients in CLIENTS
                for target in targets
            ]

    def lists(self) -> list[Row]:
        """`tools/list` over 20 upstreams with 50 tools each."""
        wide = [f"{self._base}/wide/{WIDE}/{number}/mcp" for number in range(MANY)]
        whole = MANY * WIDE
        with ExitStack() as stack:
            targets = [
                stack.enter_context(hub(self.folder("wide-serve"), wide, tools=whole)),
                stack.enter_context(fastmcp(self.folder("wide-fresh"), wide, kept=False)),
            ]
            return [row(target, self.rounds, list_size=whole, clients=1, **self._load) for target in targets]

    def sessions(self) -> list[tuple[str, float]]:
        """kB per idle handshake session."""
        one = [f"{self._base}/mcp"]
        with ExitStack() as stack:
            targets = [
                stack.enter_context(hub(self.folder("idle-serve"), one, tools=1)),
                stack.enter_context(fastmcp(self.folder("idle-kept"), one, kept=True)),
            ]
            return [(target.name, session_kb(target, SESSIONS)) for target in targets]

    def growth(self) -> list[tuple[str, Row, float]]:
        """What grows with an installation: (what there is much of, its row at one client, p50 added to direct)."""
        urls = [f"{self._base}/mcp"] * 100
        cases: list[tuple[str, dict[str, Any]]] = [
            ("1 upstream, 10 rules, no audit rows", {"urls": urls[:1], "tools": 1, "rules": 10}),
            ("100 upstreams", {"urls": urls, "tools": 100, "rules": 10}),
            ("10,000 rules", {"urls": urls[:1], "tools": 1, "rules": 10_000}),
            ("1,000,000 audit rows", {"urls": urls[:1], "tools": 1, "rules": 10, "audit": 1_000_000}),
        ]
        direct = row(self._direct, self.rounds, **self._load)
        found = []
        for number, (name, options) in enumerate(cases):
            with hub(self.folder(f"growth-{number}"), **options) as target:
                measured = row(target, self.rounds, **self._load)
            found.append((name, measured, measured.p50_ms - direct.p50_ms))
        return found


def page(bench: Bench) -> str:
    """The whole page. Measures while it is written."""
    load = machine.load_average()
    parts = [
        "# Benchmark",
        f"Written by `make bench` on {datetime.date.today()}, commit {_commit()}. Machine: {machine.description()}; "
        f"load average at the start {load:.1f}.",
        _ABOUT.format(rounds=bench.rounds),
    ]
    for era, title in (
        ("handshake", "Calls, handshake era (2025-11-25)"),
        ("modern", "Calls, modern era (2026-07-28)"),
    ):
        parts += [f"## {title}", report.calls(bench.calls(era))]
    parts += [f"## tools/list, {MANY} upstreams with {WIDE} tools each", report.calls(bench.lists())]
    sessions = [[name, f"{size:.1f}"] for name, size in bench.sessions()]
    parts += [f"## Memory per idle session ({SESSIONS:,} of them)", report.table(["target", "kB"], sessions)]
    growth = [
        [name, f"{added:+.2f}", f"{measured.p50_ms:.2f}", f"{measured.p99_ms:.2f}", f"{measured.cpu_us:,.0f}"]
        for name, measured, added in bench.growth()
    ]
    heads = ["the hub holds", "added p50 ms", "p50 ms", "p99 ms", "CPU µs per call"]
    parts += ["## Growth (one client)", report.table(heads, growth)]
    return "\n\n".join(parts) + "\n"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"


def main() -> None:
    """Read the arguments, measure, write."""
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=2, help="of every timed round")
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--no-write", action="store_true", help="print only")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="mcphub-bench-") as folder, upstream(Path(folder)) as base:
        text = page(Bench(Path(folder), base, chosen.seconds, chosen.rounds))
    print(text)
    if not chosen.no_write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
