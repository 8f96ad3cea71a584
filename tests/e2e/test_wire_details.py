"""What the wire asks of a hub beside the calls themselves."""

import sqlite3
from typing import Any

import pytest

from tests.harness.hub import Hub
from tests.harness.raw import RpcFailed, raw_client

SHIP = {"name": "sdk__ship", "arguments": {"to": "north"}}


@pytest.mark.requirement("P4")
@pytest.mark.parametrize(
    ("headers", "agrees"),
    [
        ({"Mcp-Param-Region": "north"}, True),
        ({"mcp-param-region": "=?base64?bm9ydGg=?="}, True),
        ({"Mcp-Param-Region": "north", "Mcp-Param-Other": "x"}, True),
        ({"Mcp-Param-Region": "south"}, False),
        ({"Mcp-Param-Region": "=?base64?!?="}, False),
        ({}, False),
    ],
    ids=["equal", "encoded", "with an unknown one", "other", "malformed", "missing"],
)
async def test_headers_must_repeat_what_the_schema_says(shared_hub: Hub, headers: dict[str, str], agrees: bool):
    async with raw_client(shared_hub.mcp_url, shared_hub.key, "modern") as client:
        answer = await client.send("tools/call", SHIP, headers=headers)
    if agrees:
        assert answer.json()["result"]["content"][0]["text"] == "shipped to north"
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_only_modern_clients_repeat_arguments(shared_hub: Hub):
    async with raw_client(shared_hub.mcp_url, shared_hub.key, "handshake") as client:
        answer = await client.call("sdk__ship", to="north")
    assert answer["content"][0]["text"] == "shipped to north"


async def test_a_tool_without_annotations_asks_for_no_header(shared_hub: Hub):
    async with raw_client(shared_hub.mcp_url, shared_hub.key, "modern") as client:
        answer = await client.send(
            "tools/call", {"name": "sdk__echo", "arguments": {"text": "a"}}, headers={"Mcp-Param-Text": "b"}
        )
    assert answer.status_code == 200


def levels(hub: Hub) -> list[str]:
    (file,) = (hub.folder / "data").glob("*.sqlite3")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        return [level for (level,) in database.execute("SELECT log_level FROM gateway_session")]


@pytest.mark.requirement("P18")
async def test_the_log_level_is_kept_with_the_session(shared_hub: Hub):
    async with raw_client(shared_hub.mcp_url, shared_hub.key, "handshake") as client:
        assert await client.request("logging/setLevel", {"level": "warning"}) == {}
        assert levels(shared_hub).count("warning") == 1


@pytest.mark.parametrize("params", [{}, {"level": "loud"}, {"level": 3}])
async def test_unknown_log_levels_are_refused(shared_hub: Hub, params: dict[str, Any]):
    async with raw_client(shared_hub.mcp_url, shared_hub.key, "handshake") as client:
        with pytest.raises(RpcFailed) as failed:
            await client.request("logging/setLevel", params)
    assert failed.value.error["code"] == -32602


async def test_a_hidden_tool_says_nothing_of_its_headers(shared_hub: Hub, viewer_key: str):
    async with raw_client(shared_hub.mcp_url, viewer_key, "modern") as client:
        hidden = await client.send("tools/call", SHIP)
        absent = await client.send("tools/call", {**SHIP, "name": "sdk__shop"})
    assert hidden.json()["error"]["code"] == -32602
    assert hidden.text.replace("ship", "shop").replace('"id":2', '"id":3') == absent.text
