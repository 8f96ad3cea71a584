"""What each cell of the matrix proves, and the cells that the specification leaves empty."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from mcp import Client
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    PromptReference,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
    Root,
    TextContent,
    ToolListChangedNotification,
)

from tests.harness.raw import Era, Side
from tests.matrix.door import Door, text

Cell = Callable[[Door], Awaitable[None]]

SOON_S: Final = 15
POKE_S: Final = 0.5
WATCHED: Final = "note://watched"


async def results(door: Door) -> None:
    async with door.open() as client:
        result = await client.call_tool(door.named("everything"))
    assert [block.type for block in result.content] == ["text", "image", "audio", "resource"]
    assert text(result) == f"text of {door.upstream}"
    assert result.content[3].resource.uri == door.at(WATCHED)
    assert result.structured_content == {"big": 2**60 + 1, "nothing": None}
    assert result.meta is not None
    assert result.meta["example.org/note"] == "kept"


async def tool_error(door: Door) -> None:
    async with door.open() as client:
        result = await client.call_tool(door.named("fail"))
    assert result.is_error
    assert text(result).endswith("no paper")


async def protocol_error(door: Door) -> None:
    async with door.open() as client:
        with pytest.raises(MCPError) as failed:
            await client.call_tool(door.named("refuse"))
    assert (failed.value.code, failed.value.message) == (-32602, "not like this")
    assert failed.value.data == {"why": door.upstream}


async def progress(door: Door) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    async with door.open() as client:
        result = await client.call_tool(door.named("count"), {"to": 3}, progress_callback=note)
    assert text(result) == "3"
    assert heard == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


async def logging(door: Door) -> None:
    heard: list[Any] = []

    async def note(params: Any) -> None:
        heard.append((params.level, params.data))

    level = {"log_level": "info"} if door.client == "modern" else {}
    async with door.open(logging_callback=note, **level) as client:
        if door.client == "handshake":
            await client.set_logging_level("info")
        assert text(await client.call_tool(door.named("tell"))) == "told"
        await _until(lambda: bool(heard))
    assert heard == [("warning", "loud")]


async def cancellation(door: Door) -> None:
    async with door.open() as client:
        before = int(text(await client.call_tool(door.named("cut_short"))))
        waiting = asyncio.ensure_future(client.call_tool(door.named("wait"), {"seconds": 60}))
        await asyncio.sleep(POKE_S)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(SOON_S):
            while int(text(await client.call_tool(door.named("cut_short")))) == before:
                await asyncio.sleep(POKE_S / 5)


async def form(door: Door) -> None:
    seen: list[Any] = []

    async def answer(context: Any, params: Any) -> ElicitResult:
        seen.append((params.mode, params.message, params.requested_schema["required"]))
        return ElicitResult(action="accept", content={"colour": "red"})

    async with door.open(elicitation_callback=answer) as client:
        result = await client.call_tool(door.named("ask_form"))
    assert seen == [("form", "Which?", ["colour"])]
    assert text(result) == "accept {'colour': 'red'}"


async def page(door: Door) -> None:
    seen: list[Any] = []

    async def answer(context: Any, params: Any) -> ElicitResult:
        seen.append((params.mode, params.message, params.url))
        return ElicitResult(action="accept")

    async with door.open(elicitation_callback=answer) as client:
        result = await client.call_tool(door.named("ask_url"))
    assert seen == [("url", "Open it", "https://example.org/page")]
    assert text(result) == "accept"


async def sampling(door: Door) -> None:
    async def answer(context: Any, params: Any) -> CreateMessageResult:
        assert params.messages[0].content.text == "Capital of France?"
        return CreateMessageResult(role="assistant", model="m", content=TextContent(type="text", text="Paris"))

    async with door.open(sampling_callback=answer) as client:
        assert text(await client.call_tool(door.named("sample"))) == "Paris"


async def roots(door: Door) -> None:
    async def answer(context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri="file:///srv/papers")])

    async with door.open(list_roots_callback=answer) as client:
        assert text(await client.call_tool(door.named("roots"))) == "file:///srv/papers"


async def subscription(door: Door) -> None:
    uri = door.at(WATCHED)
    async with _listening(door, uri=uri) as (client, heard):
        await _poked(client, door.named("touch"), lambda: uri in heard)
    assert set(heard) == {uri}


async def list_changed(door: Door) -> None:
    async with _listening(door) as (client, heard):
        await _poked(client, door.named("change"), lambda: "tools" in heard, every_s=4 * POKE_S)


async def completion(door: Door) -> None:
    async with door.open() as client:
        asked = {"name": "name", "value": "A"}
        prompt = await client.complete(PromptReference(type="ref/prompt", name=door.named("greet")), asked)
        template = ResourceTemplateReference(type="ref/resource", uri=door.at("note://of/{day}"))
        resource = await client.complete(template, {"name": "day", "value": "B"})
    assert prompt.completion.values == [f"A of greet at {door.upstream}"]
    assert resource.completion.values == [f"B of note://of/{{day}} at {door.upstream}"]


async def pagination(door: Door) -> None:
    names: list[str] = []
    async with door.open() as client:
        pages, cursor = 0, None
        while pages == 0 or cursor is not None:
            found = await client.list_resources(cursor=cursor)
            names += [str(resource.uri) for resource in found.resources]
            pages, cursor = pages + 1, found.next_cursor
    own = [f"leaf://{door.upstream}/{place}" for place in range(10)]
    assert pages > 1
    assert len(names) == len(set(names))
    assert {*own, door.at(WATCHED)} <= set(names)


async def resource_link(door: Door) -> None:
    async with door.open() as client:
        link = (await client.call_tool(door.named("link"))).content[0]
        assert link.uri == door.at(WATCHED)
        read = (await client.read_resource(link.uri)).contents[0]
        assert (read.uri, read.text) == (link.uri, f"watched at {door.upstream}")
        templated = (await client.read_resource(door.at("note://of/monday"))).contents[0]
        assert templated.text == f"monday at {door.upstream}"


async def prompt(door: Door) -> None:
    async with door.open() as client:
        got = await client.get_prompt(door.named("greet"), {"name": "Ada"})
    assert got.messages[0].content.text == f"Greet Ada, says {door.upstream}"


async def task(door: Door) -> None:
    extension = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}
    async with door.raw() as client:
        made = await client.request("tools/call", {"name": door.named("work"), "arguments": {}, "_meta": extension})
        assert made["resultType"] == "task"
        got = await client.request("tasks/get", {"taskId": made["taskId"], "_meta": extension})
    assert (got["taskId"], got["status"]) == (made["taskId"], "completed")
    assert got["result"]["content"][0]["text"] == f"worked by {door.upstream}"


CELLS: Final[Mapping[str, Cell]] = {
    "results of every kind": results,
    "tool error": tool_error,
    "protocol error": protocol_error,
    "prompt": prompt,
    "progress": progress,
    "log messages": logging,
    "cancellation": cancellation,
    "elicitation by form": form,
    "elicitation by URL": page,
    "sampling": sampling,
    "roots": roots,
    "resource subscription": subscription,
    "list changed": list_changed,
    "completion": completion,
    "pagination": pagination,
    "resource link": resource_link,
    "task": task,
}

_NO_TASKS: Final = (
    "The tasks extension belongs to 2026-07-28. The tasks of 2025-11-25 were an experiment that the specification "
    "withdrew; the hub does not speak of them."
)

EMPTY: Final[Mapping[tuple[str, Era, Side], str]] = {
    ("task", "handshake", "handshake"): _NO_TASKS,
    ("task", "handshake", "modern"): _NO_TASKS,
    ("task", "handshake", "both"): _NO_TASKS,
    ("task", "modern", "handshake"): _NO_TASKS,
}
"""(kind, era of the client, era or eras of the upstream) → why the specification has no such thing."""


@asynccontextmanager
async def _listening(door: Door, uri: str = "") -> AsyncIterator[tuple[Client, list[str]]]:
    """A client that hears of `uri`, or of changed tools when there is none; what it heard."""
    heard: list[str] = []

    async def note(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.append(str(message.params.uri))
        elif isinstance(message, ToolListChangedNotification):
            heard.append("tools")

    async with door.open(message_handler=note) as client:
        await client.list_tools()
        if door.client == "handshake":
            if uri:
                await client.subscribe_resource(uri)
            yield client, heard
            return
        asked: dict[str, Any] = {"resource_subscriptions": [uri]} if uri else {"tools_list_changed": True}
        async with client.listen(**asked) as stream:
            reading = asyncio.ensure_future(_read(stream, heard))
            try:
                yield client, heard
            finally:
                reading.cancel()


async def _read(stream: Any, heard: list[str]) -> None:
    async for event in stream:
        if isinstance(event, ResourceUpdated):
            heard.append(event.uri)
        elif isinstance(event, ToolsListChanged):
            heard.append("tools")


async def _poked(client: Client, tool: str, done: Callable[[], bool], every_s: float = POKE_S) -> None:
    """Call `tool` now and then until its news has arrived: the client's stream may open after its first call."""
    async with asyncio.timeout(SOON_S):
        while not done():
            await client.call_tool(tool)
            try:
                async with asyncio.timeout(every_s):
                    await _until(done)
            except TimeoutError:
                continue


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not done():
            await asyncio.sleep(0.01)
