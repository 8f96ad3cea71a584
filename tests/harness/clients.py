"""The official Python client, in either era."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

Mode = Literal["auto", "legacy", "2026-07-28"]
BOTH_ERAS: Final[tuple[Mode, Mode]] = ("legacy", "2026-07-28")


@asynccontextmanager
async def python_client(url: str, key: str, mode: Mode, **options: Any) -> AsyncIterator[Client]:
    """A connected client that presents `key`; `options` go to `mcp.Client`."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, cache=None, **options) as client,
    ):
        yield client
