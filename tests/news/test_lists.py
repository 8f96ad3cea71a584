"""A changed list reaches the clients whose own view changed, whoever changed it, and nobody else."""

import asyncio

import pytest
from mcp.shared.subscriptions import ResourcesListChanged, ToolsListChanged

from tests.harness.clients import BOTH_ERAS, Mode
from tests.harness.hub import Hub
from tests.news.conftest import SERVERS, WITHIN_S, listener


@pytest.mark.requirement("P9", "F17")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("server", SERVERS)
async def test_new_tool_is_announced(telling_hub: Hub, mode: Mode, server: str):
    name = f"grown_for_{mode.replace('-', '_')}"
    async with (
        listener(f"{telling_hub.url}/{server}/mcp", telling_hub.key, mode) as client,
        listener(telling_hub.mcp_url, telling_hub.key, mode) as everywhere,
        client.listening(lists=True),
        everywhere.listening(lists=True),
    ):
        await client.call("grow", name=name)
        await client.told.until(ToolsListChanged())
        await everywhere.told.until(ToolsListChanged())
        assert name in {tool.name for tool in (await client.client.list_tools()).tools}
        assert f"{server}__{name}" in {tool.name for tool in (await everywhere.client.list_tools()).tools}


@pytest.mark.requirement("P9")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("server", SERVERS)
async def test_new_resource_is_announced(telling_hub: Hub, mode: Mode, server: str):
    uri = f"news://for-{mode}"
    url = f"{telling_hub.url}/{server}/mcp"
    async with listener(url, telling_hub.key, mode) as client, client.listening(lists=True):
        await client.call("publish", uri=uri)
        await client.told.until(ResourcesListChanged())
        assert uri in {str(each.uri) for each in (await client.client.list_resources()).resources}


@pytest.mark.requirement("P9")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_hidden_changes_are_not_told(telling_hub: Hub, mode: Mode):
    """A viewer, who sees reading tools only, hears nothing of a tool that writes."""
    key = telling_hub.manage_json("create_key", f"viewer {mode}", "--org", "default", "--role", "viewer")["key"]
    url = f"{telling_hub.url}/handshake/mcp"
    async with (
        listener(url, telling_hub.key, mode) as owner,
        listener(telling_hub.mcp_url, key, mode) as viewer,
        owner.listening(lists=True),
        viewer.listening(lists=True),
    ):
        await owner.call("grow", name=f"delete_for_{mode.replace('-', '_')}")
        await owner.told.until(ToolsListChanged())
        await owner.call("grow", name=f"read_for_{mode.replace('-', '_')}")
        await viewer.told.until(ToolsListChanged())
        assert viewer.told.news == [ToolsListChanged()]


@pytest.mark.requirement("P12")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("server", SERVERS)
async def test_resources_are_listed_as_they_are_now(telling_hub: Hub, mode: Mode, server: str):
    """A server that says nothing of a new resource shows it all the same to whoever asks."""
    uri = f"quiet://for-{server}-{mode}"
    async with (
        listener(f"{telling_hub.url}/{server}/mcp", telling_hub.key, mode) as client,
        listener(telling_hub.mcp_url, telling_hub.key, mode) as everywhere,
    ):
        await client.call("publish_quietly", uri=uri)
        for each in (client, everywhere):
            async with asyncio.timeout(WITHIN_S):
                while uri not in {str(found.uri) for found in (await each.client.list_resources()).resources}:
                    await asyncio.sleep(0.1)
            assert (await each.client.read_resource(uri)).contents[0].text == uri  # type: ignore[union-attr]  # text
