"""Unmodified SDK clients that know nothing but the URL, and a person at a real Chromium (S1, S9)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from playwright.async_api import Page

from tests.authserver.chromium import chromium, let_in, person, sign_in
from tests.authserver.loopback import Loopback, loopback
from tests.harness.hub import Hub, servers_file
from tests.harness.upstreams import sdk_stdio

PATHS = ("/mcp", "/mcp/default", "/mcp/default/sdk")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("oauth")
    with Hub(folder / "hub") as hub:
        config = servers_file(folder / "servers.json", {"sdk": sdk_stdio(folder / "marks")})
        yield hub.up("--config", str(config)).until_listed("sdk")


class Memory:
    """What a client keeps between its starts."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@asynccontextmanager
async def python_client(url: str, memory: Memory, page: Page, at: Loopback) -> AsyncIterator[Client]:
    """The SDK's own way in: it opens the person's browser and waits at its loopback."""

    async def open_browser(address: str) -> None:
        await page.goto(address)
        if "/sign-in/" in page.url:
            await sign_in(page, "ann@example.org")
        await let_in(page)

    async def returned() -> AuthorizationCodeResult:
        answer = await at.answer()
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])

    metadata = OAuthClientMetadata(client_name="Python client", redirect_uris=[at.redirect_uri])  # type: ignore[list-item]
    auth = OAuthClientProvider(url, metadata, memory, open_browser, returned)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), cache=None) as client,
    ):
        yield client


@pytest.mark.requirement("S1")
@pytest.mark.parametrize("path", PATHS)
async def test_the_python_sdk_connects_with_the_url_alone(hub: Hub, path: str) -> None:
    url, memory = f"{hub.url}{path}", Memory()
    async with chromium() as browser, person(browser) as page, loopback() as at:
        async with python_client(url, memory, page, at) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            name = "echo" if path.endswith("/sdk") else "sdk__echo"
            assert name in tools
            assert memory.tokens is not None
        first = memory.tokens
    assert first.refresh_token
    assert await status(url, first.access_token) == httpx.codes.OK
    again = post(hub, "token", grant_type="refresh_token", refresh_token=first.refresh_token, **client_of(memory))
    assert again.status_code == httpx.codes.OK, again.text
    assert await status(url, again.json()["access_token"]) == httpx.codes.OK
    revoked = post(hub, "revoke", token=again.json()["refresh_token"], **client_of(memory))
    assert revoked.status_code == httpx.codes.OK


def client_of(memory: Memory) -> dict[str, str]:
    assert memory.client is not None
    found = {"client_id": memory.client.client_id or ""}
    return found | ({"client_secret": memory.client.client_secret} if memory.client.client_secret else {})


def post(hub: Hub, endpoint: str, **fields: str) -> httpx.Response:
    return httpx.post(f"{hub.url}/oauth/{endpoint}", data=fields, timeout=30)


async def status(url: str, token: str) -> int:
    """How a call with the token is answered."""
    call: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
    }
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        return (await http.post(url, json=call, headers=headers)).status_code


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
