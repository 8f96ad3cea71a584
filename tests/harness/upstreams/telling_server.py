"""An upstream that tells its clients things, written with the official SDK's low level, in one era only.

`python -m tests.harness.upstreams.telling_server handshake|modern [PORT]`; without a port it speaks over stdio.
Tools: `touch` (a resource was updated), `grow` (one more tool), `publish` (one more resource, said),
`publish_quietly`, `say` (a log message on the call), `mutter` (one that belongs to no call), `opened` (a page was),
`watched` (what is subscribed to). Handshake clients are told on their own session, modern ones where they listen.
"""

import json
import sys
from typing import Any, Final

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage

METHOD_NOT_FOUND: Final = -32601
OBJECT: Final = {"type": "object"}


class Telling:
    """The handlers and what they know of their clients."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.tools = ["touch", "grow", "publish", "publish_quietly", "say", "mutter", "opened", "watched"]
        self.resources = ["news://a", "news://b"]
        self.sessions: dict[str, Any] = {}
        self.watched: dict[tuple[str, str], Any] = {}

    async def list_tools(self, ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema=OBJECT) for name in self.tools])

    async def list_resources(self, ctx: Any, params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource(name=uri, uri=uri) for uri in self.resources])

    async def read(self, ctx: Any, params: Any) -> types.ReadResourceResult:
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text=str(params.uri))])

    async def subscribe(self, ctx: Any, params: Any) -> types.EmptyResult:
        if str(params.uri) == "news://b":
            raise MCPError(-32602, "b is not for watching")
        self.watched[str(params.uri), session_of(ctx)] = ctx.session
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Any, params: Any) -> types.EmptyResult:
        self.watched.pop((str(params.uri), session_of(ctx)), None)
        return types.EmptyResult()

    async def set_level(self, ctx: Any, params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    async def call(self, ctx: Any, params: Any) -> types.CallToolResult:
        if ctx.protocol_version != "2026-07-28":
            self.sessions[session_of(ctx)] = ctx.session
        said = await getattr(self, f"call_{params.name}")(ctx, **(params.arguments or {}))
        return types.CallToolResult(content=[types.TextContent(type="text", text=said or "done")])

    async def call_touch(self, ctx: Any, uri: str) -> None:
        await self.bus.publish(ResourceUpdated(uri))
        for (watched, _), session in self.watched.items():
            if watched == uri:
                await session.send_resource_updated(uri)

    async def call_grow(self, ctx: Any, name: str) -> None:
        self.tools.append(name)
        await self.bus.publish(ToolsListChanged())
        for session in self.sessions.values():
            await session.send_tool_list_changed()

    async def call_publish(self, ctx: Any, uri: str) -> None:
        self.resources.append(uri)
        await self.bus.publish(ResourcesListChanged())
        for session in self.sessions.values():
            await session.send_resource_list_changed()

    async def call_publish_quietly(self, ctx: Any, uri: str) -> None:
        self.resources.append(uri)

    async def call_say(self, ctx: Any, level: Any, text: str) -> None:
        await ctx.session.send_log_message(level, text, related_request_id=ctx.request_id)

    async def call_mutter(self, ctx: Any, level: Any, text: str) -> None:
        await ctx.session.send_log_message(level, text)

    async def call_opened(self, ctx: Any, page: str) -> None:
        await ctx.session.send_elicit_complete(page)

    async def call_watched(self, ctx: Any) -> str:
        return json.dumps(sorted(uri for uri, _ in self.watched))


def session_of(ctx: Any) -> str:
    """Its id; over stdio there is but one."""
    return ctx.request.headers["mcp-session-id"] if ctx.request else ""


async def without_discovery(ctx: Any, call_next: Any) -> Any:
    """A server of the handshake era does not know what only modern clients send."""
    if ctx.method == "server/discover":
        raise MCPError(METHOD_NOT_FOUND, "Method not found")
    return await call_next(ctx)


def server_of(era: str) -> Server[Any]:
    telling = Telling()
    server: Server[Any] = Server(
        "telling",
        version="1",
        on_list_tools=telling.list_tools,
        on_call_tool=telling.call,
        on_list_resources=telling.list_resources,
        on_read_resource=telling.read,
        on_subscribe_resource=telling.subscribe,
        on_unsubscribe_resource=telling.unsubscribe,
        on_set_logging_level=telling.set_level,
        on_subscriptions_listen=ListenHandler(telling.bus),
    )
    if era == "handshake":
        server.middleware.append(without_discovery)
    return server


async def over_stdio(server: Server[Any], era: str) -> None:
    async with stdio_server() as (reads, writes), anyio.create_task_group() as group:
        if era == "handshake":
            send, kept = anyio.create_memory_object_stream[Any](0)
            group.start_soon(refusing_discovery, reads, send, writes)
            reads = kept  # type: ignore[assignment]  # the same shape
        await server.run(reads, writes, server.create_initialization_options())
        group.cancel_scope.cancel()


async def refusing_discovery(reads: Any, send: Any, writes: Any) -> None:
    """The SDK's server settles for the era of the first message; older ones do not know that there are two."""
    async with send:
        async for each in reads:
            if getattr(getattr(each, "message", None), "method", "") == "server/discover":
                error = types.ErrorData(code=METHOD_NOT_FOUND, message="Method not found")
                await writes.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=each.message.id, error=error)))
            else:
                await send.send(each)


def main(era: str, *port: str) -> None:
    server = server_of(era)
    if port:
        uvicorn.run(server.streamable_http_app(), port=int(port[0]), log_level="warning", timeout_graceful_shutdown=0)
    else:
        anyio.run(over_stdio, server, era)


if __name__ == "__main__":
    main(*sys.argv[1:])
