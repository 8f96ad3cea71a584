"""docs/compatibility.md: `python -m tests.matrix.page` writes it, the matrix test holds it to what is proved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.harness.raw import ERAS, SIDES
from tests.matrix.cells import CELLS, EMPTY

PAGE: Final = Path(__file__).parents[2] / "docs" / "compatibility.md"
ABOUT: Final = """\
# Compatibility

Clients and servers of both protocol eras meet at the hub: *handshake* (2024-11-05 to 2025-11-25) and *modern*
(2026-07-28). Each cell is a test (`tests/matrix`): the official Python client of the one era, through a hub, at a
server of one era alone or of both, both at the aggregate endpoint `/mcp` and at the server's own endpoint. A server
of both is spoken to in the era of the client, so that it asks in the middle of a call as it would without the hub.
"""

OTHERS: Final = """\
Clients that list, call, read, get prompts and answer questions at servers of both eras
(`tests/matrix/test_clients.py`): the Python SDK 2.3 in each of its modes, the TypeScript SDK 1.x and 2.x (2.x also
pinned to 2026-07-28), fastmcp's client. The MCP Inspector's command line lists, calls, reads and gets prompts.
Servers, reached by clients of both eras (`tests/matrix/test_servers.py`): `server-everything` over stdio, HTTP and
HTTP+SSE, one on the TypeScript SDK 2.x, and four of the examples that the TypeScript SDK 1.x brings.
The official conformance suite's results stand in [conformance.md](conformance.md).
"""


def text() -> str:
    """The page."""
    notes = list(dict.fromkeys(EMPTY.values()))
    return "\n".join(
        [ABOUT, *_table(notes), "", *(f"[{at}] {note}" for at, note in enumerate(notes, 1)), "", OTHERS.rstrip(), ""]
    )


def _table(notes: list[str]) -> Iterator[str]:
    ways = [(client, upstream) for client in ERAS for upstream in SIDES]
    yield f"| client → server | {' | '.join(f'{client} → {upstream}' for client, upstream in ways)} |"
    yield f"|---|{'---|' * len(ways)}"
    for kind in CELLS:
        cells = (_cell(EMPTY.get((kind, *way)), notes) for way in ways)
        yield f"| {kind} | {' | '.join(cells)} |"


def _cell(reason: str | None, notes: list[str]) -> str:
    return "works" if reason is None else f"none [{notes.index(reason) + 1}]"


if __name__ == "__main__":
    PAGE.write_text(text())
