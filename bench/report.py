"""The tables, as Markdown."""

from collections.abc import Iterable, Sequence
from typing import Final

from bench.measuring import Row

MILLISECONDS: Final = ("p50 ms", "p95 ms", "p99 ms")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def calls(rows: Iterable[Row]) -> str:
    """One line a target and number of clients."""
    heads = ["target", "clients", "calls/s (lowest–highest)", *MILLISECONDS, "CPU µs per call"]
    return table(heads, [_line(row) for row in rows])


def milliseconds(row: Row) -> list[str]:
    """Its columns under `MILLISECONDS`."""
    return [f"{value:.2f}" for value in (row.p50_ms, row.p95_ms, row.p99_ms)]


def _line(row: Row) -> list[str]:
    spread = f"{_count(row.per_second)} ({_count(min(row.rounds))}–{_count(max(row.rounds))})"
    cpu = "–" if row.cpu_us is None else f"{row.cpu_us:,.0f}"
    return [row.target, str(row.clients), spread, *milliseconds(row), cpu]


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
