"""One hub with servers that tell news: of both eras, over HTTP and over stdio."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged

from tests.harness.clients import Mode, python_client
from tests.harness.hub import Hub, servers_file
from tests.harness.upstreams import telling_http, telling_stdio

SERVERS = ("handshake", "modern", "local-handshake", "local-modern")
WITHIN_S = 8


@dataclass
class Told:
    """What one client was told, in order; waiting for more."""

    news: list[Any] = field(default_factory=list)
    logs: list[tuple[str, Any]] = field(default_factory=list)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, item: Any) -> None:
        async with self._more:
            self.news.append(item)
            self._more.notify_all()

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        async with self._more:
            self.logs.append((params.level, params.data))
            self._more.notify_all()

    async def until(self, item: Any) -> None:
        """Wait until it was told."""
        async with asyncio.timeout(WITHIN_S), self._more:
            await self._more.wait_for(lambda: item in self.news or item in self.logs)

    async def received(self, message: Any) -> None:
        """The handshake client's message handler: notifications as the modern client's events."""
        match message:
            case types.ResourceUpdatedNotification():
                await self.add(ResourceUpdated(str(message.params.uri)))
            case types.ElicitCompleteNotification():
                await self.add(message.params.elicitation_id)
            case types.ToolListChangedNotification():
                await self.add(ToolsListChanged())
            case types.PromptListChangedNotification():
                await self.add(PromptsListChanged())
            case types.ResourceListChangedNotification():
                await self.add(ResourcesListChanged())


@dataclass
class Listener:
    """A client of either era that is told news."""

    client: Client
    told: Told
    mode: Mode

    @asynccontextmanager
    async def listening(self, *uris: str, lists: bool = False) -> AsyncIterator[list[str]]:
        """Told of these resources, and of lists; gives the URIs that the hub took."""
        if self.mode == "legacy":
            if lists:
                await self.client.list_tools()
                await self.client.list_resources()
            for uri in uris:
                await self.client.subscribe_resource(uri)
            yield list(uris)
            for uri in uris:
                await self.client.unsubscribe_resource(uri)
            return
        wanted = {"tools_list_changed": lists, "resources_list_changed": lists, "resource_subscriptions": uris}
        async with self.client.listen(**wanted) as stream:  # type: ignore[arg-type]  # one dict of all filters
            collecting = asyncio.create_task(self._collect(stream))
            yield list(stream.honored.resource_subscriptions or ())
            collecting.cancel()

    async def _collect(self, stream: Any) -> None:
        async for event in stream:
            await self.told.add(event)

    async def call(self, tool: str, **arguments: Any) -> str:
        answer = await self.client.call_tool(tool, arguments)
        assert not answer.is_error, answer
        return str(answer.content[0].text)  # type: ignore[union-attr]  # these tools answer with text


@asynccontextmanager
async def listener(url: str, key: str, mode: Mode, **options: Any) -> AsyncIterator[Listener]:
    """A connected client whose standing stream is open."""
    told = Told()
    if mode == "legacy":
        options["message_handler"] = told.received
    async with python_client(url, key, mode, logging_callback=told.log, **options) as client:
        yield Listener(client, told, mode)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub that is not started yet."""
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture(scope="module")
def telling_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A running hub with the telling server of each era over HTTP and over stdio."""
    folder: Path = tmp_path_factory.mktemp("telling")
    with (
        telling_http(folder, "handshake") as handshake,
        telling_http(folder, "modern") as modern,
        Hub(folder / "hub") as hub,
    ):
        servers = {
            "handshake": {"url": handshake},
            "modern": {"url": modern},
            "local-handshake": telling_stdio("handshake"),
            "local-modern": telling_stdio("modern"),
        }
        yield hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*SERVERS)
