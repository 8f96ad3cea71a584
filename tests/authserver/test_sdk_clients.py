"""Unmodified SDK clients that know nothing but the URL, and a person at a real Chromium (S1, S9)."""

import asyncio
import json
import sqlite3
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from playwright.async_api import Page

from tests.authserver.chromium import chromium, let_in, person, sign_in
from tests.authserver.flow import pkce
from tests.authserver.loopback import Loopback, loopback
from tests.conformance import authorization as conformance
from tests.faults.certificates import Authority
from tests.harness import node
from tests.harness.hub import Hub, servers_file
from tests.harness.processes import free_port
from tests.harness.upstreams import sdk_stdio

PATHS = ("/mcp", "/mcp/default", "/mcp/default/sdk")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("oauth")
    (folder / "authority.pem").write_bytes(authority.pem)
    with Hub(folder / "hub", egress_allow="127.0.0.1") as hub:
        hub.environment["SSL_CERT_FILE"] = str(folder / "authority.pem")
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
async def python_client(
    url: str, memory: Memory, page: Page, at: Loopback, document: str | None = None, org: str = ""
) -> AsyncIterator[Client]:
    """The SDK's own way in: it opens the person's browser and waits at its loopback."""

    async def open_browser(address: str) -> None:
        await page.goto(address)
        if "/sign-in/" in page.url:
            await sign_in(page, CARLA if org else "ann@example.org")
        await let_in(page, org)

    async def returned() -> AuthorizationCodeResult:
        answer = await at.answer()
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])

    metadata = OAuthClientMetadata(client_name="Python client", redirect_uris=[at.redirect_uri])  # type: ignore[list-item]
    auth = OAuthClientProvider(url, metadata, memory, open_browser, returned, document)
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


@pytest.mark.requirement("S1")
async def test_a_client_is_recognised_by_its_document(hub: Hub, tmp_path: Path, authority: Authority) -> None:
    url, memory = hub.mcp_url, Memory()
    async with (
        loopback() as at,
        document_server(authority, tmp_path, at.redirect_uri) as document,
        chromium() as browser,
        person(browser) as page,
        python_client(url, memory, page, at, document) as client,
    ):
        assert "sdk__echo" in {tool.name for tool in (await client.list_tools()).tools}
    assert memory.client is not None
    assert memory.client.client_id == document


@asynccontextmanager
async def document_server(authority: Authority, folder: Path, redirect_uri: str) -> AsyncIterator[str]:
    """A client's document over https; its URL is the client's id."""
    port = free_port()
    url = f"https://localhost:{port}/client.json"
    document = {
        "client_id": url,
        "client_name": "Documented",
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "none",
    }
    body = json.dumps(document).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    context = authority.server(folder, "localhost")
    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=context)
    try:
        yield url
    finally:
        server.close()


@pytest.mark.requirement("P3")
async def test_all_orgs_of_a_person_stand_on_one_endpoint(hub: Hub, tmp_path: Path) -> None:
    south = servers_file(tmp_path / "south.json", {"tally": sdk_stdio(tmp_path / "marks")})
    hub.manage("shell", "-c", TWO_ORGS.format(servers=str(south)))
    memory = Memory()
    async with chromium() as browser, person(browser) as page, loopback() as at:
        async with python_client(hub.mcp_url, memory, page, at, org="All my") as client:
            while True:
                tools = {tool.name for tool in (await client.list_tools()).tools}
                if {"default__sdk__echo", "south__tally__echo"} <= tools:
                    break
                await asyncio.sleep(0.2)
            said = await client.call_tool("south__tally__echo", {"text": "from the south"})
            assert "from the south" in str(said.content)
            said = await client.call_tool("default__sdk__echo", {"text": "from home"})
            assert "from home" in str(said.content)
        assert memory.tokens is not None
        assert await status(f"{hub.mcp_url}/south", memory.tokens.access_token) == httpx.codes.OK
    with sqlite3.connect(hub.database) as database:
        called = set(database.execute("SELECT org, upstream FROM audit_auditevent WHERE principal = ?", (CARLA,)))
    assert {pair for pair in called if pair[1]} == {("south", "tally"), ("default", "sdk")}


CARLA = "carla@example.org"
TWO_ORGS = """
from django.core.management import call_command
from mcphub.accounts import services
from mcphub.accounts.models import Org
south, carla = services.create_org("south"), services.create_user("carla@example.org")
for org in (Org.objects.get(slug="default"), south):
    services.add_member(org, carla, ["owner"])
call_command("import_servers", "{servers}", org="south")
"""


@pytest.mark.requirement("S1")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sdk", ["1", "2"])
async def test_the_typescript_sdks_connect_with_the_url_alone(hub: Hub, sdk: str, path: str) -> None:
    async with chromium() as browser, person(browser) as page, loopback() as at:
        process = await asyncio.create_subprocess_exec(*node.authorizing(), stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        script = {"sdk": sdk, "url": f"{hub.url}{path}", "redirect": at.redirect_uri}
        try:
            async with asyncio.timeout(90):
                process.stdin.write(json.dumps(script).encode() + b"\n")
                await page.goto(json.loads(await process.stdout.readline())["open"])
                if "/sign-in/" in page.url:
                    await sign_in(page, "ann@example.org")
                await let_in(page)
                process.stdin.write(json.dumps(await at.answer()).encode() + b"\n")
                told = json.loads(await process.stdout.readline())
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
    assert ("echo" if path.endswith("/sdk") else "sdk__echo") in told["tools"]
    assert told["refreshed"]


@pytest.mark.requirement("S1", "S9")
async def test_a_command_line_signs_in_and_its_stream_closes_when_the_person_ends_it(hub: Hub) -> None:
    """The hub's own public client, a plain loopback client; then no other browser gets anything from its link."""
    async with chromium() as browser, person(browser) as anns, person(browser) as bobs, loopback() as at:
        verifier, challenge = pkce()
        link = f"{hub.url}/oauth/authorize?" + urlencode(
            {
                "response_type": "code",
                "client_id": "mcphub-cli",
                "redirect_uri": at.redirect_uri,
                "state": "of-the-command-line",
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        await anns.goto(link)
        await sign_in(anns, "ann@example.org")
        await anns.wait_for_selector("#consent")
        page = await anns.content()
        await bobs.goto(link)
        await sign_in(bobs, "bob@example.org")
        await bobs.set_content(page.replace('action="/', f'action="{hub.url}/'))
        await bobs.click("button:has-text('Let it in')")
        await bobs.wait_for_load_state()
        assert at.is_empty
        await let_in(anns)
        answer = await at.answer()
        assert answer["state"] == "of-the-command-line"
        fields = {"code": answer["code"], "code_verifier": verifier, "redirect_uri": at.redirect_uri}
        token = post(hub, "token", grant_type="authorization_code", client_id="mcphub-cli", **fields).json()
        listen = "subscriptions/listen"
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": listen,
            "params": {"notifications": {"toolsListChanged": True}, "_meta": META},
        }
        async with (
            httpx.AsyncClient(trust_env=False, timeout=30) as http,
            http.stream("POST", hub.mcp_url, json=body, headers=headers(token["access_token"], listen)) as line,
        ):
            assert line.status_code == httpx.codes.OK
            chunks = line.aiter_bytes()
            assert b"acknowledged" in await anext(chunks)
            await anns.goto(f"{hub.url}/oauth/applications/")
            end = anns.locator("section", has_text="MCP Hub command line").locator("button")
            await end.first.click()
            async with asyncio.timeout(30):
                async for _ in chunks:
                    pass
        assert await status(hub.mcp_url, token["access_token"]) == httpx.codes.UNAUTHORIZED


@pytest.mark.requirement("S1")
def test_the_official_suite_finds_nothing_wrong(hub: Hub, tmp_path: Path) -> None:
    asyncio.run(conformance.authorization(hub, tmp_path))


def client_of(memory: Memory) -> dict[str, str]:
    assert memory.client is not None
    found = {"client_id": memory.client.client_id or ""}
    return found | ({"client_secret": memory.client.client_secret} if memory.client.client_secret else {})


def post(hub: Hub, endpoint: str, **fields: str) -> httpx.Response:
    return httpx.post(f"{hub.url}/oauth/{endpoint}", data=fields, timeout=30)


async def status(url: str, token: str) -> int:
    """How a call with the token is answered."""
    call: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        return (await http.post(url, json=call, headers=headers(token, "tools/list"))).status_code


def headers(token: str, method: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
    }


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
