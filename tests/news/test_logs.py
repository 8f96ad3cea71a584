"""Log messages: from the level on that a client asked for, to the client whose call they are about."""

import pytest

from tests.harness.clients import BOTH_ERAS, Mode
from tests.harness.hub import Hub
from tests.news.conftest import SERVERS, Listener, listener


async def ask_for(client: Listener, level: str) -> None:
    """What a modern client says with each request, a session says once."""
    if client.mode == "legacy":
        await client.client.set_logging_level(level)  # type: ignore[arg-type]  # a level's name


@pytest.mark.requirement("P18")
@pytest.mark.parametrize("mode", BOTH_ERAS)
@pytest.mark.parametrize("server", SERVERS)
async def test_messages_of_a_call_reach_its_client_from_its_level_on(telling_hub: Hub, mode: Mode, server: str):
    url = f"{telling_hub.url}/{server}/mcp"
    async with (
        listener(url, telling_hub.key, mode, log_level="warning") as client,
        listener(url, telling_hub.key, mode, log_level="debug") as other,
    ):
        await ask_for(client, "warning")
        await ask_for(other, "debug")
        await client.call("say", level="info", text="too quiet")
        await client.call("say", level="error", text="loud")
        await client.told.until(("error", "loud"))
        assert client.told.logs == [("error", "loud")]
        await other.call("say", level="debug", text="quiet")
        await other.told.until(("debug", "quiet"))
        assert other.told.logs == [("debug", "quiet")]


@pytest.mark.requirement("P18")
@pytest.mark.parametrize("server", SERVERS)
async def test_modern_client_hears_nothing_unless_it_asks(telling_hub: Hub, server: str):
    async with listener(f"{telling_hub.url}/{server}/mcp", telling_hub.key, "2026-07-28") as client:
        await client.call("say", level="error", text="unheard")
        assert client.told.logs == []


@pytest.mark.requirement("P18")
async def test_message_outside_of_calls_reaches_the_sessions_of_its_holder(telling_hub: Hub):
    """On a connection of its own the upstream speaks to one principal, whose sessions hear it and nobody else's."""
    made = telling_hub.manage_json("create_key", "stranger", "--org", "default", "--role", "operator")
    url = f"{telling_hub.url}/handshake/mcp"
    async with (
        listener(url, telling_hub.key, "legacy") as client,
        listener(url, made["key"], "legacy") as stranger,
    ):
        await stranger.call("say", level="info", text="mine")
        await client.call("mutter", level="warning", text="aside")
        await client.told.until(("warning", "aside"))
        assert stranger.told.logs == [("info", "mine")]


@pytest.mark.requirement("P5")
async def test_that_a_page_was_opened_reaches_the_sessions_of_its_holder(telling_hub: Hub):
    """The call that named the page has ended by then (-32042), so that the news comes outside of calls."""
    made = telling_hub.manage_json("create_key", "other stranger", "--org", "default", "--role", "operator")
    url = f"{telling_hub.url}/handshake/mcp"
    async with (
        listener(url, telling_hub.key, "legacy") as client,
        listener(url, made["key"], "legacy") as stranger,
    ):
        await stranger.call("opened", page="page-of-a-stranger")
        await client.call("opened", page="page-1")
        await client.told.until("page-1")
        await stranger.told.until("page-of-a-stranger")
        assert (client.told.news, stranger.told.news) == (["page-1"], ["page-of-a-stranger"])
