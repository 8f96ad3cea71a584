"""The upstream of the matrix: `python -m tests.matrix.upstream handshake|modern|both PORT`.

Its definitions are the same in both eras, down to the URIs, so that two of them collide behind one endpoint;
what they answer names the era. The one of both asks each client in the way of the connection that it is called over.
"""

import asyncio
import sys
from typing import Any, Final

import uvicorn
from mcp.server import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    AudioContent,
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    PromptReference,
    ResourceLink,
    ResourceTemplateReference,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)

from tests.harness.raw import Side
from tests.harness.upstreams.one_era import only

MODERN: Final = "2026-07-28"
PAGE: Final = 5
PAPER: Final = "cGFwZXI="
WATCHED: Final = "note://watched"
FORM: Final = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
TASKS: Final = "io.modelcontextprotocol/tasks"

era: Side = "handshake"
interrupted = 0
sessions: Final[dict[str, ServerSession]] = {}
Ctx = Context[Any, Any]
Asked = ElicitRequest | CreateMessageRequest | ListRootsRequest
RESULT_OF: Final[dict[type, Any]] = {
    ElicitRequest: ElicitResult,
    CreateMessageRequest: CreateMessageResult,
    ListRootsRequest: ListRootsResult,
}


async def asked(ctx: Ctx, request: Asked) -> Any:
    """The client's answer, in the way of the connection: asked for at once, or by a result that needs it."""
    if ctx.protocol_version == MODERN:
        return (ctx.input_responses or {}).get("asked") or InputRequiredResult(
            input_requests={"asked": request}, request_state="waiting"
        )
    related = ServerMessageMetadata(related_request_id=ctx.request_id)
    return await ctx.session.send_request(request, RESULT_OF[type(request)], metadata=related)


def everything() -> CallToolResult:
    """Every kind of content, structured content and metadata."""
    page = TextResourceContents(uri=WATCHED, mime_type="text/plain", text=f"embedded by {era}")
    return CallToolResult(
        content=[
            TextContent(type="text", text=f"text of {era}"),
            ImageContent(type="image", data=PAPER, mime_type="image/png"),
            AudioContent(type="audio", data=PAPER, mime_type="audio/wav"),
            EmbeddedResource(type="resource", resource=page),
        ],
        structured_content={"big": 2**60 + 1, "nothing": None},
        _meta={"example.org/note": "kept"},
    )


def link() -> CallToolResult:
    """A link to a resource."""
    return CallToolResult(content=[ResourceLink(type="resource_link", name="watched", uri=WATCHED)])


def fail() -> str:
    """An error of the tool's own."""
    raise ToolError("no paper")


def refuse() -> str:
    """An error of the protocol."""
    raise MCPError(code=-32602, message="not like this", data={"why": era})


async def count(to: int, ctx: Ctx) -> str:
    """Progress with each step."""
    for step in range(1, to + 1):
        await ctx.report_progress(step, to, f"step {step}")
    return str(to)


async def tell(ctx: Ctx) -> str:
    """Two messages, one of them for the curious."""
    await ctx.log("debug", "quiet")
    await ctx.log("warning", "loud")
    return "told"


async def wait(seconds: float) -> str:
    """Wait, and count it when the wait is cut short."""
    global interrupted
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        interrupted += 1
        raise
    return "waited"


def cut_short() -> str:
    """How many waits were."""
    return str(interrupted)


async def ask_form(ctx: Ctx) -> Any:
    """The person's colour."""
    answer = await asked(ctx, ElicitRequest(params=ElicitRequestFormParams(message="Which?", requested_schema=FORM)))
    return answer if isinstance(answer, InputRequiredResult) else f"{answer.action} {answer.content}"


async def ask_url(ctx: Ctx) -> Any:
    """The person, on a page."""
    page = {"message": "Open it", "url": "https://example.org/page", "elicitation_id": "page-1"}
    if ctx.protocol_version == MODERN:
        del page["elicitation_id"]
    answer = await asked(ctx, ElicitRequest(params=ElicitRequestURLParams(**page)))
    return answer if isinstance(answer, InputRequiredResult) else answer.action


async def sample(ctx: Ctx) -> Any:
    """The client's model."""
    question = SamplingMessage(role="user", content=TextContent(type="text", text="Capital of France?"))
    answer = await asked(
        ctx, CreateMessageRequest(params=CreateMessageRequestParams(messages=[question], max_tokens=10))
    )
    return answer if isinstance(answer, InputRequiredResult) else answer.content.text


async def roots(ctx: Ctx) -> Any:
    """The client's roots."""
    answer = await asked(ctx, ListRootsRequest())
    return answer if isinstance(answer, InputRequiredResult) else " ".join(str(root.uri) for root in answer.roots)


async def touch(ctx: Ctx) -> str:
    """Say that the watched note was updated."""
    await ctx.notify_resource_updated(WATCHED)
    for session in sessions.values():
        await session.send_resource_updated(WATCHED)
    return "touched"


def fresh() -> str:
    """Comes and goes."""
    return "fresh"


async def change(ctx: Ctx) -> str:
    """A tool comes, or goes again."""
    server = ctx.mcp_server
    if any(tool.name == "fresh" for tool in await server.list_tools()):
        server.remove_tool("fresh")
    else:
        server.add_tool(fresh)
    await ctx.notify_tools_changed()
    for session in sessions.values():
        await session.send_tool_list_changed()
    return "changed"


async def remembered(ctx: ServerRequestContext[Any], call_next: Any) -> Any:
    """Keep every session, so that all of them hear of news."""
    headers = ctx.request.headers if ctx.request is not None else {}
    if "mcp-session-id" in headers:
        sessions[headers["mcp-session-id"]] = ctx.session
    return await call_next(ctx)


async def by_pages(ctx: ServerRequestContext[Any], call_next: Any) -> Any:
    """Lists in pages of `PAGE`, whose cursors are places."""
    result = await call_next(ctx)
    if ctx.method not in ("tools/list", "resources/list"):
        return result
    body = (
        result.model_dump(mode="json", by_alias=True, exclude_none=True) if not isinstance(result, dict) else result
    )
    member = ctx.method.partition("/")[0]
    start = int((ctx.params or {}).get("cursor") or 0)
    rest = body[member][start:]
    more = {"nextCursor": str(start + PAGE)} if len(rest) > PAGE else {}
    return {**body, member: rest[:PAGE], **more}


async def with_tasks(ctx: ServerRequestContext[Any], call_next: Any) -> Any:
    """The tool `work` is a task for clients that know the extension; `tasks/get` says that it is done."""
    params = ctx.params or {}
    if ctx.protocol_version != MODERN:
        return await call_next(ctx)
    if ctx.method == "tools/call" and params.get("name") == "work":
        return {"resultType": "task", **_task("working")}
    if ctx.method == "tasks/get":
        result = {"content": [{"type": "text", "text": f"worked by {era}"}], "isError": False}
        return {"resultType": "complete", **_task("completed"), "result": result}
    if ctx.method == "tasks/cancel":
        return {"resultType": "complete"}
    return await call_next(ctx)


def _task(status: str) -> dict[str, Any]:
    moment = "2026-07-28T00:00:00Z"
    times = {"createdAt": moment, "lastUpdatedAt": moment, "ttlMs": 60_000}
    return {"taskId": "task-1", "status": status, **times, "pollIntervalMs": 10}


def work() -> str:
    """Takes its time."""
    return "worked at once"


TOOLS: Final = (
    everything,
    link,
    fail,
    refuse,
    count,
    tell,
    wait,
    cut_short,
    ask_form,
    ask_url,
    sample,
    roots,
    touch,
    change,
    work,
)


def make() -> MCPServer[Any]:
    """The server of this process's era."""
    middleware = [remembered, by_pages, *([] if era == "handshake" else [with_tasks])]
    server = MCPServer(f"matrix-{era}", version="1", instructions=f"The {era} one.", middleware=middleware)
    for tool in TOOLS:
        server.add_tool(tool, structured_output=False)

    @server.resource(WATCHED)
    def watched() -> str:
        return f"watched at {era}"

    for place in range(2 * PAGE):
        server.resource(f"leaf://{era}/{place}")(_leaf(place))

    @server.resource("note://of/{day}")
    def note(day: str) -> str:
        return f"{day} at {era}"

    @server.prompt()
    def greet(name: str) -> str:
        return f"Greet {name}, says {era}"

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        subject = ref.name if isinstance(ref, PromptReference) else ref.uri
        return Completion(values=[f"{argument.value} of {subject} at {era}"], total=1, has_more=False)

    if era != "modern":
        _accept(server)
    return server


def _leaf(place: int) -> Any:
    def leaf() -> str:
        return f"leaf {place}"

    return leaf


def _accept(server: MCPServer[Any]) -> None:
    """What only the handshake era asks for, and MCPServer has no public way to answer."""

    async def accepted(ctx: object, params: object) -> EmptyResult:
        return EmptyResult()

    below = server._lowlevel_server
    below.add_request_handler("logging/setLevel", SetLevelRequestParams, accepted)
    below.add_request_handler("resources/subscribe", SubscribeRequestParams, accepted)
    below.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, accepted)


if __name__ == "__main__":
    era = sys.argv[1]  # type: ignore[assignment]  # one of the three
    app = make().streamable_http_app()
    uvicorn.run(
        app if era == "both" else only(era, app), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning"
    )
