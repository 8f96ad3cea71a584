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


@pytest.mark.requirement("P10")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("era", ERAS)
async def test_watching_goes_on_after_the_upstream_was_switched_off_and_on(
    hub: Hub, tmp_path: Path, era: Era, mode: Mode
):
    with telling_http(tmp_path, era) as url:
        hub.up("--config", str(servers_file(tmp_path / "servers.json", {"news": {"url": url}}))).until_listed("news")
        async with listener(hub.mcp_url, hub.key, mode) as client, client.listening("news://a"):
            await _switch(hub, on=False)
            async with asyncio.timeout(20):
                while (await client.client.list_tools()).tools:
                    await asyncio.sleep(0.05)
            await _switch(hub, on=True)
            await asyncio.to_thread(hub.until_listed, "news")
            await _hears_again(client, "news__touch")


async def _switch(hub: Hub, *, on: bool) -> None:
    """Switch the upstream on or off, as the admin does."""
    change = f"upstream = Upstream.objects.get()\nupstream.enabled = {on}\nupstream.save()"
    await asyncio.to_thread(hub.manage, "shell", "-c", f"from upstreams.models import Upstream\n{change}")


@pytest.mark.requirement("P10", "A1")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_denied_watching_looks_like_an_unknown_resource_and_is_recorded(hub: Hub, tmp_path: Path, mode: Mode):
    await _with_rule(hub, tmp_path, "deny")
    async with listener(f"{hub.url}/news/mcp", hub.key, mode) as client:
        assert not (await client.client.list_resources()).resources
        await _is_not_watched(client, "Unknown resource")
    assert _denied(hub, mode) == [("denied", "news://a")]


@pytest.mark.requirement("P10", "O10", "A1")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_what_a_person_is_asked_about_each_time_is_not_watched_and_its_client_is_told_so(
    hub: Hub, tmp_path: Path, mode: Mode
):
    await _with_rule(hub, tmp_path, "ask")
    async with listener(f"{hub.url}/news/mcp", hub.key, mode) as client:
        assert (await client.client.list_resources()).resources
        await _is_not_watched(client, "cannot be watched")
    assert ("denied", "news://a") in _denied(hub, mode)


async def _with_rule(hub: Hub, folder: Path, effect: str) -> None:
    """A hub that runs under one rule about all resources."""
    config = str(servers_file(folder / "servers.json", {"news": telling_stdio("modern")}))
    hub.up("--config", config).until_listed("news")
    hub.terminate()
    rule = "from policies.models import Rule\nfrom mcphub.accounts.models import Org\n"
    rule += (
        f"Rule.objects.create(org=Org.objects.get(), name='no', priority=1, effect='{effect}', kinds=['resource'])"
    )
    await asyncio.to_thread(hub.manage, "shell", "-c", rule)
    hub.up("--config", config).until_listed("news")


async def _is_not_watched(client: Listener, told: str) -> None:
    if client.mode == "legacy":
        with pytest.raises(MCPError, match=told):
            await client.client.subscribe_resource("news://a")
    else:
        async with client.listening("news://a") as taken:
            assert taken == []


def _denied(hub: Hub, mode: Mode) -> list[tuple[str, str]]:
    """What the record holds of attempts to watch; ends the hub."""
    hub.terminate()
    method = "resources/subscribe" if mode == "legacy" else "subscriptions/listen"
    events = [json.loads(line) for line in hub.manage("export_audit", "--upstream", "news").splitlines()]
    return [(each["kind"], each["name"]) for each in events if each["method"] == method]


async def _hears_again(client: Listener, tool: str = "touch") -> None:
    """Touch the resource until the client hears of it."""
    async with asyncio.timeout(20):
        while ResourceUpdated("news://a") not in client.told.news:
            await client.client.call_tool(tool, {"uri": "news://a"})
