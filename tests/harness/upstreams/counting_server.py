"""An upstream whose state lives in its process: `python -m tests.harness.upstreams.counting_server`, over stdio.

Every start appends its process id to the file named by `STARTS`, every cancelled wait a line to `MARKS`.
"""

import asyncio
import itertools
import os
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

READ_ONLY = ToolAnnotations(read_only_hint=True)

server = MCPServer("counting")
numbers = itertools.count(1)


def append(variable: str, line: str) -> None:
    with Path(os.environ[variable]).open("a") as file:
        file.write(f"{line}\n")


@server.tool(annotations=READ_ONLY)
def tally() -> int:
    """The next number of this process."""
    return next(numbers)


@server.tool(annotations=READ_ONLY)
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool(annotations=READ_ONLY)
async def count(to: int, context: Context[Any, Any]) -> int:
    """Report progress with each step."""
    for step in range(1, to + 1):
        await context.report_progress(step, to)
    return to


@server.tool(annotations=READ_ONLY)
async def wait(seconds: float) -> str:
    """Answer after a while."""
    append("MARKS", "began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        append("MARKS", "cancelled")
        raise
    return "waited"


@server.tool(annotations=READ_ONLY)
async def pass_gate(gate: str, context: Context[Any, Any]) -> str:
    """Report one step, wait until a file of this name stands beside the marks, report another."""
    await context.report_progress(1, 2)
    try:
        while not Path(os.environ["MARKS"]).with_name(gate).exists():
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        append("MARKS", f"ended-{gate}")
        raise
    await context.report_progress(2, 2)
    return "passed"


@server.tool()
def grow() -> str:
    """Offer one more tool, and tell nobody."""
    server.add_tool(lambda: "new", name=f"grown_{next(numbers)}", description="New.")
    return "grown"


if __name__ == "__main__":
    append("STARTS", str(os.getpid()))
    server.run("stdio")
