"""One hub with servers that ask, of both eras."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp_types import (
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)

from tests.harness.hub import Hub, servers_file
from tests.harness.upstreams import asking_http


@dataclass
class Person:
    """Whoever sits at a client: answers what it is asked, and remembers it."""

    asked: list[Any] = field(default_factory=list)
    action: Any = "accept"

    async def elicit(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params)
        if self.action != "accept" or params.mode == "url":
            return ElicitResult(action=self.action)
        return ElicitResult(action="accept", content={"colour": f"answer to {params.message}"})

    async def sample(self, context: Any, params: Any) -> CreateMessageResult | CreateMessageResultWithTools:
        self.asked.append(params)
        text = TextContent(type="text", text="a word")
        if params.tools:
            return CreateMessageResultWithTools(role="assistant", content=text, model="m", stop_reason="endTurn")
        return CreateMessageResult(role="assistant", content=text, model="m", stop_reason="endTurn")

    async def roots(self, context: Any) -> ListRootsResult:
        self.asked.append("roots")
        return ListRootsResult(roots=[Root(uri="file:///work")])


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture(scope="package")
def asking_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A running hub with the asking server of each era; marks are in the folder above `hub.folder`."""
    with running(tmp_path_factory.mktemp("asking")) as hub:
        yield hub


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Hub]:
    """Such a hub with its own settings."""
    with (
        asking_http(folder, "handshake") as handshake,
        asking_http(folder, "modern") as modern,
        Hub(folder / "hub", **settings) as hub,
    ):
        servers = {"handshake": {"url": handshake}, "modern": {"url": modern}}
        yield hub.up("--config", str(servers_file(folder / "servers.json", servers))).until_listed(*servers)


def marks_of(hub: Hub) -> list[str]:
    """What the asking servers have noted."""
    file = hub.folder.parent / "marks"
    return file.read_text().split() if file.exists() else []
