"""An upstream that asks its client in the middle of calls, written with the official SDK.

`python -m tests.harness.upstreams.asking_server handshake|modern|both [PORT]`; without a port it speaks over stdio.
`both` answers every client, but asks in the way of the handshake era, which a modern client cannot be asked in.
All offer the same tools under the same names. A call that is cancelled while it waits for an answer appends
a line to the file named by `MARKS`, and so do changed roots.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError
from mcp.shared.message import SessionMessage
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ErrorData,
    InputRequiredResult,
    JSONRPCError,
    ListRootsRequest,
    NotificationParams,
    SamplingMessage,
    TextContent,
    Tool,
)
from pydantic import BaseModel

Ctx = Context[Any, Any]

PAGE: Final = "https://example.test/consent"
ROOTS_CHANGED: Final = "notifications/roots/list_changed"
METHOD_NOT_FOUND: Final = -32601
UNKNOWN: Final = {"handshake": "server/discover", "modern": "initialize"}
"""What a server of one era alone has never heard of."""


class Colour(BaseModel):
    colour: str


FORM: Final = Colour.model_json_schema()
PROMPT: Final = [SamplingMessage(role="user", content=TextContent(type="text", text="Think of a word"))]
WORD_TOOL: Final = Tool(name="words", input_schema={"type": "object"})


def mark(word: str) -> None:
    with Path(os.environ["MARKS"]).open("a") as marks:
        marks.write(word + "\n")


# --- handshake: requests in the middle of the call ---------------------------------------------------


async def colours_by_asking(ctx: Ctx) -> str:
    """Two questions, one after the other, with progress around them."""
    found = []
    try:
        for number in range(2):
            await ctx.report_progress(number, 2)
            told = await ctx.session.elicit_form(f"Colour {number}?", FORM, related_request_id=ctx.request_id)
            found.append((told.content or {}).get("colour", told.action))
    except asyncio.CancelledError:
        mark("cancelled")
        raise
    return ", ".join(map(str, found))


async def ponder(ctx: Ctx) -> str:
    """One question, and a long thought about the answer."""
    try:
        await ctx.session.elicit_form("What about?", FORM, related_request_id=ctx.request_id)
        mark("pondering")
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        mark("cancelled")
        raise
    return "pondered"


async def page_by_asking(ctx: Ctx) -> str:
    """A page to open."""
    return (await ctx.elicit_url("Please agree", PAGE, "e-1")).action


async def think_by_asking(ctx: Ctx) -> str:
    """A sample of the client's model."""
    told = await ctx.session.create_message(PROMPT, max_tokens=9, related_request_id=ctx.request_id)
    return str(getattr(told.content, "text", told.content))


async def think_with_tools_by_asking(ctx: Ctx) -> str:
    """A sample that may use a tool."""
    told = await ctx.session.create_message(
        PROMPT, max_tokens=9, tools=[WORD_TOOL], related_request_id=ctx.request_id
    )
    return str(told.stop_reason)


async def places_by_asking(ctx: Ctx) -> str:
    """The client's roots."""
    return ", ".join(str(root.uri) for root in (await ctx.session.list_roots()).roots)


async def greet_by_asking(ctx: Ctx) -> str:
    """A prompt that asks whom to greet."""
    told = await ctx.session.elicit_form("Whom?", FORM, related_request_id=ctx.request_id)
    return f"Greet {(told.content or {}).get('colour', told.action)}"


# --- modern: results that require input --------------------------------------------------------------


def form(message: str) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=FORM))


def answered(ctx: Ctx, key: str) -> Any:
    return (ctx.input_responses or {}).get(key)


async def colours_by_result(ctx: Ctx) -> str | InputRequiredResult:
    """Two rounds, the first answer carried in the state."""
    found = json.loads(ctx.request_state or "[]")
    if (told := answered(ctx, f"colour-{len(found)}")) is not None:
        found.append((told.content or {}).get("colour", told.action))
    if len(found) == 2:
        return ", ".join(map(str, found))
    await ctx.report_progress(len(found), 2)
    ask = {f"colour-{len(found)}": form(f"Colour {len(found)}?")}
    return InputRequiredResult(input_requests=ask, request_state=json.dumps(found))


def once(request: Any, read: Callable[[Any], str]) -> Callable[[Ctx], Any]:
    """A tool that asks one thing, without any state."""

    async def tool(ctx: Ctx) -> str | InputRequiredResult:
        told = answered(ctx, "it")
        return InputRequiredResult(input_requests={"it": request}) if told is None else read(told)

    return tool


page_by_result = once(
    ElicitRequest(params=ElicitRequestURLParams(message="Please agree", url=PAGE)), lambda told: str(told.action)
)
think_by_result = once(
    CreateMessageRequest(params=CreateMessageRequestParams(messages=PROMPT, max_tokens=9)),
    lambda told: str(getattr(told.content, "text", told.content)),
)
think_with_tools_by_result = once(
    CreateMessageRequest(params=CreateMessageRequestParams(messages=PROMPT, max_tokens=9, tools=[WORD_TOOL])),
    lambda told: str(told.stop_reason),
)
places_by_result = once(ListRootsRequest(), lambda told: ", ".join(str(root.uri) for root in told.roots))


async def greet_by_result(ctx: Ctx) -> str | InputRequiredResult:
    """A prompt that asks whom to greet."""
    told = answered(ctx, "whom")
    if told is None:
        return InputRequiredResult(input_requests={"whom": form("Whom?")})
    return f"Greet {(told.content or {}).get('colour', told.action)}"


async def for_ever(ctx: Ctx) -> InputRequiredResult:
    """Asks again whatever it is told."""
    return InputRequiredResult(input_requests={"again": form("Again?")})


async def later(ctx: Ctx) -> str | InputRequiredResult:
    """Asks nothing; wants to be called again."""
    return "now" if ctx.request_state else InputRequiredResult(request_state="later")


# --- both ---------------------------------------------------------------------------------------------

opened: list[str] = []


async def locked(ctx: Ctx) -> str:
    """-32042 every other time."""
    if not opened:
        opened.append(PAGE)
        raise UrlElicitationRequiredError([ElicitRequestURLParams(message="Open", url=PAGE, elicitation_id="e-2")])
    opened.clear()
    return "unlocked"


async def capabilities(ctx: Ctx) -> str:
    """What this call's client declared, as the upstream sees it."""
    declared = ctx.client_capabilities
    return "" if declared is None else declared.model_dump_json(exclude_none=True, by_alias=True)


async def note_changed_roots(ctx: Any, params: Any) -> None:
    """A client has other roots now."""
    mark("roots-changed")


async def stdio_without(method: str, server: MCPServer) -> None:
    """Serve as programs of one era do: the SDK's own settles on an era with the first message."""
    lowlevel = server._lowlevel_server
    send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)

    async def pass_on(read: Any, write: Any) -> None:
        async with send:
            async for each in read:
                message = each.message
                if getattr(message, "method", "") == method:
                    error = ErrorData(code=METHOD_NOT_FOUND, message="Method not found")
                    await write.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=message.id, error=error)))
                else:
                    await send.send(each)

    async with stdio_server() as (read, write), anyio.create_task_group() as group:
        group.start_soon(pass_on, read, write)
        await lowlevel.run(receive, write, lowlevel.create_initialization_options())


def without(method: str) -> Any:
    """A server of one era does not know what clients of the other begin with."""

    async def refuse(ctx: Any, call_next: Any) -> Any:
        if ctx.method == method:
            raise MCPError(METHOD_NOT_FOUND, "Method not found")
        return await call_next(ctx)

    return refuse


async def asking_at_completion(ctx: Any, call_next: Any) -> Any:
    """Ask for input where the protocol has none."""
    if ctx.method == "completion/complete":
        return {"resultType": "input_required", "requestState": "mine"}
    return await call_next(ctx)


HANDSHAKE: Final = {
    "colours": colours_by_asking,
    "page": page_by_asking,
    "think": think_by_asking,
    "think_with_tools": think_with_tools_by_asking,
    "places": places_by_asking,
    "ponder": ponder,
    "locked": locked,
    "capabilities": capabilities,
}
MODERN: Final = {
    "colours": colours_by_result,
    "page": page_by_result,
    "think": think_by_result,
    "think_with_tools": think_with_tools_by_result,
    "places": places_by_result,
    "for_ever": for_ever,
    "later": later,
    "capabilities": capabilities,
}


def main(era: str, *port: str) -> None:
    unknown = UNKNOWN.get(era)
    server = MCPServer("asking", middleware=[asking_at_completion, *([without(unknown)] if unknown else [])])
    for name, function in (MODERN if era == "modern" else HANDSHAKE).items():
        server.add_tool(function, name=name, structured_output=False)
    greet = greet_by_result if era == "modern" else greet_by_asking
    server.prompt(name="greet")(greet)
    server._lowlevel_server.add_notification_handler(ROOTS_CHANGED, NotificationParams, note_changed_roots)
    if port:
        server.run("streamable-http", host="127.0.0.1", port=int(port[0]))
    elif unknown:
        anyio.run(stdio_without, unknown, server)
    else:
        server.run("stdio")


if __name__ == "__main__":
    main(*sys.argv[1:])
