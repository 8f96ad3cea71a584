"""An upstream written with the official SDK: `python -m tests.links.sdk_server stdio|http|sse [PORT]`.

`http` listens on a free port and prints it as its first line on stdout. It speaks both eras; `http-modern` and
`http-handshake` have never heard of the other, and `http-stateless` gives no sessions.
"""

import asyncio
import json
import socket
import sys
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field

from tests.harness.upstreams.one_era import only

TWICE = {"type": "string", "x-mcp-header": "Twice"}
UNUSABLE = {"name": "twice", "inputSchema": {"type": "object", "properties": {"one": TWICE, "two": TWICE}}}


async def with_an_unusable_tool(ctx: Any, call_next: Any) -> Any:
    """List a tool that mirrors two arguments in one header, which the SDK refuses to make."""
    result = await call_next(ctx)
    if ctx.method != "tools/list":
        return result
    body = result if isinstance(result, dict) else result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**body, "tools": [*body["tools"], UNUSABLE]}


server = MCPServer("sdk", instructions="For tests.", middleware=[with_an_unusable_tool])


class Colour(BaseModel):
    colour: str


@server.tool(annotations={"readOnlyHint": True})
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
async def slow(seconds: float, ctx: Context[Any, Any]) -> str:
    """Wait, and note when the wait is cut short."""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print("cancelled", file=sys.stderr, flush=True)
        raise
    return "done"


@server.tool()
async def count(to: int, ctx: Context[Any, Any]) -> str:
    """Report progress on the way."""
    for step in range(to):
        await ctx.report_progress(step + 1, to, f"step {step + 1}")
    return str(to)


@server.tool()
async def grow(ctx: Context[Any, Any]) -> str:
    """Gain a tool and say so."""
    server.add_tool(lambda: "new", name="fresh", description="New.")
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "grown"


@server.tool()
async def favourite(ctx: Context[Any, Any]) -> str:
    """Ask the client."""
    answer = await ctx.elicit("Which colour?", Colour)
    return f"{answer.action} {answer.data.colour if answer.action == 'accept' else ''}"


@server.tool()
def region(where: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """A tool with a mirrored argument."""
    return where


Labelled = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Label"})]


@server.tool()
def seen(ctx: Context[Any, Any]) -> str:
    """The `Mcp-Param-*` headers of this call."""
    headers = ctx.request_context.request.headers
    return json.dumps({name: value for name, value in headers.items() if name.startswith("mcp-param-")})


@server.tool()
def parcel(label: str, ctx: Context[Any, Any]) -> str:
    """Becomes a tool with a mirrored argument."""
    return label


@server.tool()
def change_parcel() -> str:
    """Do it, and tell nobody."""

    def labelled(label: Labelled, ctx: Context[Any, Any]) -> str:
        return seen(ctx)

    server.remove_tool("parcel")
    server.add_tool(labelled, name="parcel", description="Has one.")
    return "changed"


@server.resource("thing://one")
def one() -> str:
    return "one"


@server.prompt()
def greet(name: str) -> str:
    return f"Hello {name}"


def main(mode: str) -> None:
    if mode == "stdio":
        server.run()
        return
    listener = socket.create_server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    print(listener.getsockname()[1], flush=True)
    app: Any = server.sse_app() if mode == "sse" else server.streamable_http_app(stateless_http="stateless" in mode)
    if mode in ("http-modern", "http-handshake"):
        app = only("modern" if mode == "http-modern" else "handshake", app)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
