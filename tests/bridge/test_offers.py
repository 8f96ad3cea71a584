"""An upstream is offered what this client declared and the operator permits, and learns nothing else of a client."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.bridge.conftest import Person, marks_of, running
from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ERAS, Era, RpcFailed, ask, raw_client
from tests.harness.upstreams import asking_stdio
from tests.harness.waiting import until

CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"


async def text_of(client: Client, tool: str) -> str:
    result = await client.call_tool(tool, {})
    return str(result.content[0].text)  # type: ignore[union-attr]  # every tool here answers with text


async def refuses(client: Client, tool: str) -> bool:
    """Whether the call ends in an error, be it the tool's or the protocol's."""
    try:
        return bool((await client.call_tool(tool, {})).is_error)
    except MCPError:
        return True


@pytest.mark.requirement("P5")
@pytest.mark.parametrize("client", BOTH_ERAS)
@pytest.mark.parametrize("upstream", ERAS)
async def test_each_call_offers_what_its_own_client_declared(
    asking_hub: Hub, person: Person, client: Mode, upstream: Era
):
    tool = f"{upstream}__capabilities"
    async with (
        python_client(asking_hub.mcp_url, asking_hub.key, client) as plain,
        python_client(asking_hub.mcp_url, asking_hub.key, client, sampling_callback=person.sample) as model,
        python_client(asking_hub.mcp_url, asking_hub.key, client, list_roots_callback=person.roots) as folders,
    ):
        for _ in range(2):
            seen = [json.loads(await text_of(each, tool)).keys() for each in (plain, model, folders)]
            assert [set(each) for each in seen] == [set(), {"sampling"}, {"roots"}]


@pytest.mark.parametrize("client", BOTH_ERAS)
@pytest.mark.parametrize("upstream", ERAS)
@pytest.mark.parametrize("tool", ["think", "places"])
async def test_a_client_is_not_asked_what_it_did_not_offer(
    asking_hub: Hub, person: Person, client: Mode, upstream: Era, tool: str
):
    async with python_client(asking_hub.mcp_url, asking_hub.key, client, elicitation_callback=person.elicit) as hub:
        assert await refuses(hub, f"{upstream}__{tool}")
    assert person.asked == []


async def test_a_person_who_cannot_be_asked_has_declined(asking_hub: Hub):
    async with python_client(asking_hub.mcp_url, asking_hub.key, "legacy") as hub:
        assert await text_of(hub, "modern__colours") == "decline, decline"


@pytest.mark.parametrize("upstream", ERAS)
async def test_a_client_without_pages_is_asked_for_forms_only(asking_hub: Hub, upstream: Era):
    async with raw_client(asking_hub.mcp_url, asking_hub.key, "modern") as client:
        meta = {CAPABILITIES: {"elicitation": {"form": {}}}}
        try:
            result = await client.request("tools/call", {"name": f"{upstream}__page", "arguments": {}, "_meta": meta})
        except RpcFailed:
            return
    assert (result["resultType"], result["isError"]) == ("complete", True)


@pytest.mark.parametrize("client", BOTH_ERAS)
async def test_an_upstream_that_always_asks_is_stopped(asking_hub: Hub, person: Person, client: Mode):
    async with python_client(asking_hub.mcp_url, asking_hub.key, client, elicitation_callback=person.elicit) as hub:
        if client == "legacy":
            result = await hub.call_tool("modern__for_ever", {})
            assert result.is_error
            assert result.meta is not None
            assert result.meta["mcphub/error"]["reason"] == "protocol"
        else:
            with pytest.raises(Exception, match=r"(?i)round"):
                await hub.call_tool("modern__for_ever", {})
    assert len(person.asked) == 10


@pytest.mark.parametrize("client", BOTH_ERAS)
async def test_an_upstream_may_ask_for_nothing_but_time(asking_hub: Hub, client: Mode):
    async with python_client(asking_hub.mcp_url, asking_hub.key, client) as hub:
        assert await text_of(hub, "modern__later") == "now"


async def test_pages_that_must_be_opened_first_are_named_to_each_era_in_its_own_form(asking_hub: Hub, person: Person):
    hub, tool = asking_hub, "handshake__locked"
    async with python_client(hub.mcp_url, hub.key, "legacy", elicitation_callback=person.elicit) as old:
        with pytest.raises(MCPError) as required:
            await old.call_tool(tool, {})
        assert required.value.error.code == -32042
        assert await text_of(old, tool) == "unlocked"
    async with python_client(hub.mcp_url, hub.key, "2026-07-28", elicitation_callback=person.elicit) as new:
        assert await text_of(new, tool) == "unlocked"
    assert [params.url for params in person.asked] == ["https://example.test/consent"]


@pytest.mark.parametrize(("capabilities", "code"), [({}, -32021), ({"elicitation": {"form": {}}}, -32021)])
async def test_a_client_that_cannot_open_pages_is_told_what_it_lacks(
    asking_hub: Hub, capabilities: dict[str, Any], code: int
):
    params = {"name": "handshake__locked", "arguments": {}, "_meta": {CAPABILITIES: capabilities}}
    async with raw_client(asking_hub.mcp_url, asking_hub.key, "modern") as raw:
        with pytest.raises(RpcFailed) as lacking:
            await raw.request("tools/call", params)
        assert (lacking.value.error["code"], lacking.value.status) == (code, 400)
        assert lacking.value.error["data"] == {"requiredCapabilities": {"elicitation": {"url": {}}}}
        assert (await raw.request("tools/call", params))["content"][0]["text"] == "unlocked"


async def test_a_page_that_is_not_opened_ends_the_call(asking_hub: Hub, person: Person):
    person.action = "decline"
    async with python_client(
        asking_hub.mcp_url, asking_hub.key, "2026-07-28", elicitation_callback=person.elicit
    ) as hub:
        result = await hub.call_tool("handshake__locked", {})
        assert result.is_error
        assert result.meta is not None
        assert result.meta["mcphub/error"]["reason"] == "cancelled"
        assert await text_of(hub, "handshake__locked") == "unlocked"


@pytest.mark.parametrize("client", BOTH_ERAS)
@pytest.mark.parametrize("upstream", ERAS)
async def test_the_operator_can_forbid_questions(tmp_path: Path, person: Person, client: Mode, upstream: Era):
    with running(tmp_path) as hub:
        _change(hub, "may_sample=False")
        async with python_client(hub.mcp_url, hub.key, client, sampling_callback=person.sample) as connected:
            assert json.loads(await text_of(connected, f"{upstream}__capabilities")) == {}
            assert await refuses(connected, f"{upstream}__think")
    assert person.asked == []


@pytest.mark.parametrize("client", BOTH_ERAS)
@pytest.mark.parametrize("upstream", ERAS)
async def test_policy_is_decided_again_when_the_person_has_answered(
    tmp_path: Path, person: Person, client: Mode, upstream: Era
):
    with running(tmp_path) as hub:

        async def meanwhile(context: Any, params: Any) -> Any:
            await asyncio.to_thread(_forbid, hub)
            return await person.elicit(context, params)

        async with python_client(hub.mcp_url, hub.key, client, elicitation_callback=meanwhile) as connected:
            assert await refuses(connected, f"{upstream}__colours")
        hub.terminate()
        kinds = [json.loads(line)["kind"] for line in hub.manage("export_audit", "--upstream", upstream).splitlines()]
        assert "denied" in kinds
        assert "resumed" not in kinds
    assert len(person.asked) <= 1


@pytest.mark.parametrize("client", BOTH_ERAS)
async def test_a_command_of_ones_own_may_ask(tmp_path: Path, person: Person, client: Mode):
    entries = {era: asking_stdio(era, tmp_path / "marks") for era in ERAS}
    entries["handshake"]["sharing"] = "per-user"
    with Hub(tmp_path / "hub") as hub:
        hub.up("--config", str(servers_file(tmp_path / "servers.json", entries))).until_listed(*entries)
        async with python_client(hub.mcp_url, hub.key, client, elicitation_callback=person.elicit) as connected:
            for era in ERAS:
                assert await text_of(connected, f"{era}__colours") == "answer to Colour 0?, answer to Colour 1?"


@pytest.mark.requirement("P18")
@pytest.mark.parametrize("client", BOTH_ERAS)
async def test_a_client_that_gives_up_cancels_the_call_upstream(asking_hub: Hub, person: Person, client: Mode):
    before = marks_of(asking_hub).count("cancelled")
    pondering = marks_of(asking_hub).count("pondering")
    async with python_client(asking_hub.mcp_url, asking_hub.key, client, elicitation_callback=person.elicit) as hub:
        thought = asyncio.create_task(hub.call_tool("handshake__ponder", {}))
        await asyncio.to_thread(until, "the thought", lambda: marks_of(asking_hub).count("pondering") > pondering)
        thought.cancel()
        await asyncio.gather(thought, return_exceptions=True)
        await asyncio.to_thread(until, "its end", lambda: marks_of(asking_hub).count("cancelled") > before)


def _change(hub: Hub, change: str) -> None:
    """Change every upstream as the operator."""
    hub.manage("shell", "-c", _for_all("Upstream", change))


def _forbid(hub: Hub) -> None:
    """Deny everything, and wait until the hub follows."""
    rule = "from policies.models import Rule\nfrom mcphub.accounts.models import Org\n"
    rule += "Rule.objects.create(org=Org.objects.get(), name='no', priority=1, effect='deny', kinds=['tool'])"
    hub.manage("shell", "-c", rule)
    until("the change", lambda: not ask(hub.mcp_url, hub.key, "tools/list", {})["tools"])


def _for_all(model: str, change: str) -> str:
    return f"from upstreams.models import {model}\nfor row in {model}.objects.all():\n row.{change}\n row.save()"


async def test_an_upstream_asks_for_input_in_calls_only(asking_hub: Hub):
    async with raw_client(asking_hub.mcp_url, asking_hub.key, "modern") as client:
        greeting = {"ref": {"type": "ref/prompt", "name": "modern__greet"}, "argument": {"name": "who", "value": "A"}}
        with pytest.raises(RpcFailed) as failed:
            await client.request("completion/complete", greeting)
    assert failed.value.error["data"]["mcphub/error"]["reason"] == "protocol"
