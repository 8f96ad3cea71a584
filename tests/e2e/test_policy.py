"""Who may do what, seen from a client: a viewer's key reads, `explain` says why, an edited rule holds at once."""

import re

import httpx
import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub
from tests.harness.raw import ERAS, Era, RpcFailed, raw_client

RULES = "/admin/policies/rule/"
READS = {"sdk__count", "sdk__echo", "sdk__measure"}
OTHERS = {"sdk__delete_everything", "sdk__fail", "sdk__mark", "sdk__picture", "sdk__ship", "sdk__wait"}
"""By their words they write or destroy, or say nothing; annotations count only from a trusted upstream."""


@pytest.mark.requirement("O1", "O7")
@pytest.mark.parametrize("era", ERAS)
async def test_viewer_sees_and_calls_read_tools_only(shared_hub: Hub, viewer_key: str, era: Era):
    async with raw_client(shared_hub.mcp_url, viewer_key, era) as client:
        assert set(await client.names()) == READS
        assert (await client.call("sdk__echo", text="hi"))["content"][0]["text"] == "hi"
        with pytest.raises(RpcFailed) as hidden:
            await client.call("sdk__mark", word="no")
        with pytest.raises(RpcFailed) as absent:
            await client.call("sdk__nark", word="no")
    assert hidden.value.error["code"] == absent.value.error["code"] == -32602
    assert hidden.value.error["message"].replace("mark", "nark") == absent.value.error["message"]
    assert hidden.value.error.keys() == absent.value.error.keys()


@pytest.mark.requirement("O7")
async def test_completion_tells_no_hidden_template_from_an_absent_one(shared_hub: Hub):
    key = shared_hub.manage_json("create_key", "echo-only", "--role", "viewer", "--tools", "echo")["key"]
    argument = {"name": "day", "value": "x"}
    async with raw_client(shared_hub.mcp_url, key, "modern") as client:
        answers = [
            await client.send(
                "completion/complete", {"ref": {"type": "ref/resource", "uri": uri}, "argument": argument}
            )
            for uri in ("hub+sdk:note://{day}", "hub+tdk:note://{day}")
        ]
    hidden, absent = answers
    assert hidden.status_code == absent.status_code
    hidden_error, absent_error = hidden.json()["error"], absent.json()["error"]
    assert hidden_error["message"].replace("hub+sdk:", "hub+tdk:") == absent_error["message"]
    assert hidden_error.keys() == absent_error.keys()


@pytest.mark.requirement("O1")
@pytest.mark.parametrize("era", ERAS)
async def test_owner_reaches_everything(shared_hub: Hub, era: Era):
    async with raw_client(shared_hub.mcp_url, shared_hub.key, era) as client:
        assert set(await client.names()) == READS | OTHERS


@pytest.mark.requirement("O9", "X18")
def test_explain_names_the_rule(shared_hub: Hub, viewer_key: str):
    asked = ("explain", "--org", "default", "--principal", "viewer", "--tool")
    refused = shared_hub.manage_json(*asked, "sdk__mark")
    allowed = shared_hub.manage_json(*asked, "sdk__echo")
    assert (refused["effect"], allowed["effect"]) == ("deny", "allow")
    assert allowed["rule"]
    assert refused["reason"]
    assert refused["trace"] or refused["rule"]


@pytest.mark.requirement("S3")
@pytest.mark.parametrize("key", ["", "wrong", "mcph_0000000000000000_nothing"])
async def test_stranger_gets_401_and_where_to_ask(shared_hub: Hub, key: str):
    headers = {"Accept": "application/json, text/event-stream"} | ({"Authorization": f"Bearer {key}"} if key else {})
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    answer = httpx.post(shared_hub.mcp_url, json=message, headers=headers)
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.requirement("S3")
async def test_key_made_by_another_process_opens_at_once(hub: Hub):
    hub.up("--set", "LIMITS=snapshot_poll_s=4")
    made = hub.manage_json("create_key", "fresh", "--org", "default", "--role", "viewer")
    async with raw_client(hub.mcp_url, made["key"], "modern") as client:
        assert await client.names() == []


@pytest.mark.requirement("O3", "O8", "D12")
@pytest.mark.parametrize("era", ERAS)
async def test_rule_edited_in_the_admin_holds_on_the_next_call(small_hub: Hub, era: Era):
    with Browser(small_hub.url) as operator:
        operator.sign_in("owner@example.org")
        async with raw_client(small_hub.mcp_url, small_hub.key, era) as client:
            assert "sdk__mark" in await client.names()
            rule = operator.submit(
                f"{RULES}add/", "rule_form", name="no marks", effect="deny", priority="1", tools="mark"
            )
            assert rule == RULES
            assert "sdk__mark" not in await client.names()
            with pytest.raises(RpcFailed):
                await client.call("sdk__mark", word="refused")

            path = re.search(rf"{RULES}[0-9a-f-]+/change/", operator.get(RULES))
            assert path is not None
            operator.submit(path.group(), "rule_form", tools="nothing")
            answer = await client.call("sdk__mark", word="allowed")
            assert answer["content"][0]["text"] == "allowed"
