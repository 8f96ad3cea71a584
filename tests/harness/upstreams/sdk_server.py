"""An upstream written with the official SDK 2.3: `python -m tests.harness.upstreams.sdk_server [PORT]`.

Without a port it speaks over stdio. It answers both eras, so a hub that probes meets the modern one first.
Every call of `mark` appends its word to the file named by `MARKS`; `wait` appends `waiting`.
"""

import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
READ_ONLY: Final = ToolAnnotations(read_only_hint=True)

server = MCPServer("sdk-server", instructions="Small tools for tests.")


@server.tool(annotations=READ_ONLY)
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool(annotations=READ_ONLY)
def picture() -> Image:
    """One pixel."""
    return Image(data=PIXEL, format="png")


@server.tool(annotations=READ_ONLY)
def measure() -> dict[str, Any]:
    """Structured content with a big integer, a null and nested parts."""
    return {"big": 2**60 + 1, "nothing": None, "nested": {"list": [1, 2.5, "three"]}}


@server.tool(annotations=READ_ONLY)
def fail(text: str) -> str:
    """End in an error of the tool's own."""
    raise ToolError(text)


@server.tool()
def ship(to: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "") -> str:
    """Modern clients repeat the region in a header, for whoever routes on the way."""
    return f"shipped to {to}"


@server.tool(annotations=READ_ONLY)
async def wait(seconds: float) -> str:
    """Answer after a while; the beginning is marked."""
    _write_mark("waiting")
    await asyncio.sleep(seconds)
    return f"waited {seconds:g}"


@server.tool(annotations=READ_ONLY)
async def count(to: int, context: Context[Any, Any]) -> int:
    """Report progress with each step."""
    for step in range(1, to + 1):
        await context.report_progress(step, to)
    return to


@server.tool()
def mark(word: str) -> str:
    """Write a word to the list of marks."""
    _write_mark(word)
    return word


def _write_mark(word: str) -> None:
    with Path(os.environ["MARKS"]).open("a") as marks:
        marks.write(word + "\n")


@server.tool()
def delete_everything() -> str:
    """Destroy all that there is."""
    return "gone"


@server.resource("note://today")
def today() -> str:
    """A note."""
    return "The note of today."


@server.resource("note://{day}")
def note(day: str) -> str:
    """The note of a day."""
    return f"The note of {day}."


@server.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Please greet {name}."


if __name__ == "__main__":
    if sys.argv[1:]:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
