"""docs/compatibility.md: `python -m tests.matrix.page` writes it, the matrix test holds it to what is proved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.harness.raw import ERAS
from tests.matrix.cells import CELLS, EMPTY

PAGE: Final = Path(__file__).parents[2] / "docs" / "compatibility.md"
ABOUT: Final = """\
# Compatibility

Clients and servers of both protocol eras meet at the hub: *handshake* (2024-11-05 to 2025-11-25) and *modern*
(2026-07-28). Each cell is a test (`tests/matrix`): the official Python client of the one era, through a hub, at a
server that speaks the other era alone, both at the aggregate endpoint `/mcp` and at the server's own endpoint.
"""


def text() -> str:
    """The page."""
    notes = list(dict.fromkeys(EMPTY.values()))
    return "\n".join([ABOUT, *_table(notes), "", *(f"[{at}] {note}" for at, note in enumerate(notes, 1)), ""])


def _table(notes: list[str]) -> Iterator[str]:
    ways = [(client, upstream) for client in ERAS for upstream in ERAS]
    yield f"| client → server | {' | '.join(f'{client} → {upstream}' for client, upstream in ways)} |"
    yield f"|---|{'---|' * len(ways)}"
    for kind in CELLS:
        cells = (_cell(EMPTY.get((kind, *way)), notes) for way in ways)
        yield f"| {kind} | {' | '.join(cells)} |"


def _cell(reason: str | None, notes: list[str]) -> str:
    return "works" if reason is None else f"none [{notes.index(reason) + 1}]"


if __name__ == "__main__":
    PAGE.write_text(text())
