"""Who watches a resource is told when it changes: every era of client with every era of upstream."""

import asyncio
import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated

from tests.harness.clients import BOTH_ERAS, Mode
from tests.harness.hub import Hub, servers_file
from tests.harness.processes import free_port
from tests.harness.raw import ERAS, Era
from tests.harness.upstreams import telling_http, telling_stdio
from tests.news.conftest import SERVERS, WITHIN_S, Listener, listener


@pytest.mark.requirement("P10")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("server", SERVERS)
async def test_updates_reach_who_watches(telling_hub: Hub, mode: Mode, server: str):
    url = f"{telling_hub.url}/{server}/mcp"
    async with listener(url, telling_hub.key, mode) as client, client.listening("news://a") as taken:
        assert taken == ["news://a"]
        await client.call("touch", uri="news://a")
        await client.told.until(ResourceUpdated("news://a"))


@pytest.mark.requirement("P10", "P12")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("server", SERVERS)
async def test_updates_carry_the_uri_that_the_client_knows(telling_hub: Hub, mode: Mode, server: str):
    wrapped = f"hub+{server}:news://a"
    async with listener(telling_hub.mcp_url, telling_hub.key, mode) as client, client.listening(wrapped):
        await client.call(f"{server}__touch", uri="news://a")
        await client.told.until(ResourceUpdated(wrapped))
        assert client.told.news == [ResourceUpdated(wrapped)]


@pytest.mark.requirement("P10")
@pytest.mark.parametrize("server", ["handshake", "local-handshake"])
async def test_upstream_is_asked_once_however_many_watch(telling_hub: Hub, server: str):
    url = f"{telling_hub.url}/{server}/mcp"
    async with listener(url, telling_hub.key, "legacy") as one, listener(url, telling_hub.key, "2026-07-28") as two:
        async with one.listening("news://a"), two.listening("news://a"):
            assert json.loads(await one.call("watched")) == ["news://a"]
            await one.call("touch", uri="news://a")
            await one.told.until(ResourceUpdated("news://a"))
            await two.told.until(ResourceUpdated("news://a"))
        async with asyncio.timeout(WITHIN_S):
            while json.loads(await one.call("watched")):
                await asyncio.sleep(0.01)


@pytest.mark.requirement("P10")
async def test_refusals_are_the_upstreams_own(telling_hub: Hub):
    url = f"{telling_hub.url}/handshake/mcp"
    async with listener(url, telling_hub.key, "legacy") as client:
        with pytest.raises(MCPError, match="b is not for watching"):
            await client.client.subscribe_resource("news://b")
    async with (
        listener(url, telling_hub.key, "2026-07-28") as client,
        client.listening("news://a", "news://b") as taken,
    ):
        assert taken == ["news://a"]


@pytest.mark.requirement("P10")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_unknown_resources_are_not_watched(telling_hub: Hub, mode: Mode):
    async with listener(telling_hub.mcp_url, telling_hub.key, mode) as client:
        if mode == "legacy":
            with pytest.raises(MCPError, match="Unknown resource"):
                await client.client.subscribe_resource("nobody://knows")
        else:
            async with client.listening("nobody://knows") as taken:
                assert taken == []


@pytest.mark.requirement("P10")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("era", ERAS)
async def test_watching_goes_on_after_the_upstream_came_back(hub: Hub, tmp_path: Path, era: Era, mode: Mode):
    port = free_port()
    with ExitStack() as running:
        url = running.enter_context(telling_http(tmp_path, era, port))
        hub.up("--config", str(servers_file(tmp_path / "servers.json", {"news": {"url": url}}))).until_listed("news")
        async with listener(f"{hub.url}/news/mcp", hub.key, mode) as client, client.listening("news://a"):
            running.close()
            running.enter_context(telling_http(tmp_path, era, port))
            await _hears_again(client)


@pytest.mark.requirement("P10")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("era", ERAS)
async def test_watching_goes_on_with_a_new_process(hub: Hub, tmp_path: Path, era: Era, mode: Mode):
    config = servers_file(tmp_path / "servers.json", {"news": telling_stdio(era)})
    hub.up("--config", str(config)).until_listed("news")
    async with listener(f"{hub.url}/news/mcp", hub.key, mode) as client, client.listening("news://a"):
        for server in hub.children():
            if b"telling_server" in Path(f"/proc/{server}/cmdline").read_bytes():
                os.kill(server, signal.SIGKILL)
        await _hears_again(client)


async def _hears_again(client: Listener) -> None:
    """Touch the resource until the client hears of it."""
    async with asyncio.timeout(20):
        while ResourceUpdated("news://a") not in client.told.news:
            await client.client.call_tool("touch", {"uri": "news://a"})
