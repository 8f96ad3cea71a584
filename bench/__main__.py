"""`make bench` and `make bench-peers`: measure, print the tables, write the page. Take ten minutes and five.

`ARGS="--seconds 0.5 --rounds 1 --no-write"` gives a first impression and leaves the page alone; `--only calls,lists`
measures only those sections of it.
"""

import argparse
import datetime
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench import machine, peers, policy, report, start
from bench.machine import tree_memory_kb
from bench.measuring import Row, rows, session_kb, stream_kb
from bench.profile import profile
from bench.targets import Target, fastmcp, hub, upstream
from tests.harness.hub import ROOT

PAGE: Final = ROOT / "docs" / "benchmark.md"
PEERS_PAGE: Final = ROOT / "docs" / "benchmark-peers.md"
BEFORE: Final = ROOT / "bench" / "before.md"
"""The calls as they were measured first (commit ace6901), kept for comparison."""

ERAS: Final = {"handshake": "2025-11-25", "modern": "2026-07-28"}
CLIENTS: Final = (1, 8, 16, 64)
MANY: Final = 20
WIDE: Final = 50
SESSIONS: Final = 1_000
STREAMS: Final = 500
KB: Final = 1024

_ABOUT: Final = """\
The target has one core for itself; the upstream, which only echoes, and the load generator share another.
Closed loop, keep-alive, in the handshake era a session per connection, every answer checked. A call through the
hub includes the API key, the policy decision, a durable audit intent before and an outcome after it, on SQLite.
Figures are medians; the targets take turns, rounds per row: {rounds}. A real upstream takes milliseconds: what a
gateway adds counts. CPU is that of the target's whole process tree; it is the steadiest figure on a busy machine."""


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

    def calls(self) -> str:
        """Direct, hub and peer, at each number of clients."""
        return "\n\n".join(f"### {era} ({ERAS[era]})\n\n{report.calls(self._calls(era))}" for era in ERAS)

    def _calls(self, era: str) -> list[Row]:
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
                row
                for clients in CLIENTS
                for row in rows(targets, self.rounds, era=era, clients=clients, **self._load)
            ]

    def cold(self) -> str:
        """From opening a connection over handshake and list to the first answer of a tool, again and again."""
        found = []
        with hub(self.folder("cold-serve"), [f"{self._base}/mcp"], tools=1) as target:
            for era in ERAS:
                measured = rows([self._direct, target], self.rounds, era=era, cold=True, **self._load)
                found += [[f"{row.target}, {era}", *report.milliseconds(row)] for row in measured]
        return report.table(["target", *report.MILLISECONDS], found)

    def lists(self) -> str:
        """`tools/list` over 20 upstreams with 50 tools each."""
        wide = [f"{self._base}/wide/{WIDE}/{number}/mcp" for number in range(MANY)]
        whole = MANY * WIDE
        with ExitStack() as stack:
            targets = [
                stack.enter_context(hub(self.folder("wide-serve"), wide, tools=whole)),
                stack.enter_context(fastmcp(self.folder("wide-fresh"), wide, kept=False)),
            ]
            return report.calls(rows(targets, self.rounds, list_size=whole, clients=1, **self._load))

    def memory(self) -> str:
        """Of a worker at rest and under load, and of sessions, idle or with an open stream."""
        one = [f"{self._base}/mcp"]
        with ExitStack() as stack:
            serve = stack.enter_context(hub(self.folder("idle-serve"), one, tools=1))
            kept = stack.enter_context(fastmcp(self.folder("idle-kept"), one, kept=True))
            found = []
            for target in (serve, kept):
                assert target.pid is not None
                rest = tree_memory_kb(target.pid) / KB
                rows([target], 1, clients=64, **self._load)
                loaded = tree_memory_kb(target.pid) / KB
                idle, streaming = session_kb(target, SESSIONS), stream_kb(target, STREAMS)
                found.append([target.name, f"{rest:.0f}", f"{loaded:.0f}", f"{idle:.1f}", f"{streaming:.1f}"])
        heads = [
            "target",
            "MB at rest",
            "MB after load",
            "kB per idle session",
            "kB per session with its stream open",
        ]
        return report.table(heads, found)

    def growth(self) -> str:
        """What grows with an installation: a row at one client, its p50 against direct."""
        urls = [f"{self._base}/mcp"] * 100
        cases: list[tuple[str, dict[str, Any]]] = [
            ("1 upstream, 10 rules, no audit rows", {"urls": urls[:1], "tools": 1, "rules": 10}),
            ("100 upstreams", {"urls": urls, "tools": 100, "rules": 10}),
            ("10,000 rules", {"urls": urls[:1], "tools": 1, "rules": 10_000}),
            ("1,000,000 audit rows", {"urls": urls[:1], "tools": 1, "rules": 10, "audit": 1_000_000}),
        ]
        found = []
        for number, (name, options) in enumerate(cases):
            with hub(self.folder(f"growth-{number}"), **options) as target:
                direct, measured = rows([self._direct, target], self.rounds, **self._load)
            added = measured.p50_ms - direct.p50_ms
            found.append([name, f"{added:+.2f}", *report.milliseconds(measured), f"{measured.cpu_us:,.0f}"])
        return report.table(["the hub holds", "added p50 ms", *report.MILLISECONDS, "CPU µs per call"], found)

    def start(self) -> str:
        """Starts of a hub with nothing in it."""
        return start.measure(self.folder("start"))

    @staticmethod
    def policy() -> str:
        """Decisions alone, in this process."""
        return policy.measure()

    @staticmethod
    def replay() -> str:
        """Drafts against a large record, in a process of its own."""
        command = [sys.executable, "-m", "bench.replay"]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    def profile(self) -> str:
        """Where the CPU of a call goes."""
        found = {era: profile(self.folder(f"profile-{era}"), self._base, era) for era in ERAS}
        parts = [[part, *(f"{found[era].get(part, 0):.0f}" for era in ERAS)] for part in found["modern"]]
        sums = ["together", *(f"{sum(found[era].values()):.0f}" for era in ERAS)]
        return report.table(["part", *(f"µs per call, {era}" for era in ERAS)], [*parts, sums])

    def peers(self) -> str:
        """Every gateway that installs, at one number of clients, in the era that all of them speak."""
        url = f"{self._base}/mcp"
        with ExitStack() as stack:
            mine = [
                self._direct,
                stack.enter_context(hub(self.folder("serve"), [url], tools=1)),
                stack.enter_context(hub(self.folder("up"), [url], tools=1, daphne=True)),
                stack.enter_context(fastmcp(self.folder("kept"), [url], kept=True)),
                stack.enter_context(fastmcp(self.folder("fresh"), [url], kept=False)),
            ]
            others, skipped = peers.started(stack, self.folder, url)
            for target in [*others]:
                try:
                    rows([target], 1, clients=16, seconds=0.5)
                except RuntimeError as wrong:
                    others.remove(target)
                    skipped[target.name] = str(wrong)
            measured = rows([*mine, *others], self.rounds, clients=16, **self._load)
        missing = [f"Not measured: {name}: {why}" for name, why in skipped.items()]
        return "\n\n".join([report.calls(measured), *missing])


SECTIONS: Final[dict[str, tuple[str, Callable[[Bench], str]]]] = {
    "calls": ("Calls", Bench.calls),
    "cold": ("Cold connect: connection, handshake, list, first call", Bench.cold),
    "lists": (f"tools/list, {MANY} upstreams with {WIDE} tools each", Bench.lists),
    "memory": ("Memory", Bench.memory),
    "growth": ("Growth (one client)", Bench.growth),
    "policy": ("Decisions of policy, 10,000 tools, 20 roles", lambda bench: bench.policy()),
    "replay": ("A draft of policy replayed", lambda bench: bench.replay()),
    "start": ("Starting", Bench.start),
    "profile": ("Where the CPU of a call goes (16 at once, from memory, no sockets toward clients)", Bench.profile),
}
PEERS: Final = {"peers": ("Gateways side by side, 16 clients, handshake era (2025-11-25)", Bench.peers)}


def page(bench: Bench, command: str, sections: dict[str, tuple[str, Callable[[Bench], str]]]) -> str:
    """The whole page. Measures while it is written."""
    load = machine.load_average()
    parts = [
        "# Benchmark",
        f"Written by `{command}` on {datetime.date.today()}, commit {_commit()}. Machine: {machine.description()}; "
        f"load average at the start {load:.1f}.",
        _ABOUT.format(rounds=bench.rounds),
    ]
    for title, measure in sections.values():
        parts += [f"## {title}", measure(bench)]
    return "\n\n".join(parts) + "\n"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"


def main() -> None:
    """Read the arguments, measure, write."""
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=2, help="of every timed round")
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--only", default="", help=f"comma list of {', '.join(SECTIONS)}; prints only")
    arguments.add_argument("--peers", action="store_true", help="the other gateways (make bench-peers)")
    arguments.add_argument("--no-write", action="store_true", help="print only")
    chosen = arguments.parse_args()
    sections = PEERS if chosen.peers else SECTIONS
    sections = {name: each for name, each in sections.items() if name in (chosen.only or name).split(",")}
    with tempfile.TemporaryDirectory(prefix="mcphub-bench-") as folder, upstream(Path(folder)) as base:
        bench = Bench(Path(folder), base, chosen.seconds, chosen.rounds)
        text = page(bench, "make bench-peers" if chosen.peers else "make bench", sections)
    print(text)
    if chosen.no_write or chosen.only:
        return
    if chosen.peers:
        PEERS_PAGE.write_text(text)
    else:
        PAGE.write_text(f"{text}\n{BEFORE.read_text()}")


if __name__ == "__main__":
    main()
