"""The bundled demo upstream (`up --demo`): a stdio MCP server with one tool of each risk.

Run by the hub like any other command. It touches nothing outside its own memory.
"""

import datetime
import random
from typing import Annotated

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from pydantic import Field

READS = ToolAnnotations(read_only_hint=True)
FORGETS = ToolAnnotations(destructive_hint=True)

server = MCPServer("demo", title="Demo", instructions="Notes, dice and a clock to try the hub with.", version="1.0")
notes: dict[str, str] = {}


@server.tool(annotations=READS)
def roll_dice(
    sides: Annotated[int, Field(ge=2, le=1000, description="How many sides the die has")] = 6,
) -> dict[str, int]:
    """Roll one die."""
    return {"rolled": random.randint(1, sides)}


@server.tool(annotations=READS)
def current_time() -> str:
    """The time now, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@server.tool(annotations=READS)
def read_notes() -> dict[str, str]:
    """All notes by title."""
    return notes


@server.tool()
def write_note(title: str, text: str) -> str:
    """Keep a note until the demo server ends."""
    notes[title] = text
    return f"Kept “{title}”."


@server.tool(annotations=FORGETS)
def delete_note(title: str) -> str:
    """Delete a note."""
    return f"Deleted “{title}”." if notes.pop(title, None) is not None else f"There is no note “{title}”."


@server.resource("demo://welcome")
def welcome() -> str:
    """A greeting."""
    return "This text comes from the demo server behind the hub."


@server.prompt()
def summarise_notes() -> str:
    """Ask for a summary of the notes."""
    return "Read all notes with read_notes and sum them up in three lines."


if __name__ == "__main__":
    server.run("stdio")
