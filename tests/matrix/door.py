"""The way of one test through the hub: era of the client, upstream, endpoint."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from mcp import Client

from tests.harness.clients import Mode, python_client
from tests.harness.hub import Hub
from tests.harness.raw import Era, RawClient, Side, raw_client

Endpoint = Literal["aggregate", "single"]


@dataclass(frozen=True, slots=True)
class Door:
    """Opens clients of one era on one endpoint. The upstream of each side has its name as its slug."""

    hub: Hub
    client: Era
    upstream: Side
    endpoint: Endpoint

    @property
    def url(self) -> str:
        """Where the client connects."""
        return self.hub.mcp_url if self.endpoint == "aggregate" else f"{self.hub.mcp_url}/default/{self.upstream}"

    def named(self, own: str) -> str:
        """What the endpoint calls a tool or prompt of the upstream."""
        return f"{self.upstream}__{own}" if self.endpoint == "aggregate" else own

    def at(self, own: str) -> str:
        """What the endpoint calls a URI that all upstreams have."""
        return f"hub+{self.upstream}:{own}" if self.endpoint == "aggregate" else own

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Client]:
        """The official client; `options` are its callbacks."""
        mode: Mode = "2026-07-28" if self.client == "modern" else "legacy"
        async with python_client(self.url, self.hub.key, mode, **options) as client:
            yield client

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[RawClient]:
        """A client without an SDK."""
        async with raw_client(self.url, self.hub.key, self.client) as client:
            yield client


def text(result: Any) -> str:
    """The text of a result's first block of content."""
    return str(result.content[0].text)
