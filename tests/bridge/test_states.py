"""`requestState` opens only for the same principal and the same request, while it lives; calls that wait end."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.bridge.conftest import marks_of, running
from tests.harness.hub import Hub
from tests.harness.raw import ERAS, Era, RawClient, RpcFailed, ask, raw_client
from tests.harness.waiting import until

CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
FORMS: Final = {"elicitation": {"form": {}}}
RED: Final = {"action": "accept", "content": {"colour": "red"}}


@pytest.fixture
async def client(asking_hub: Hub) -> AsyncIterator[RawClient]:
    async with raw_client(asking_hub.mcp_url, asking_hub.key, "modern") as client:
        yield client


@pytest.fixture(scope="module")
def other_key(asking_hub: Hub) -> str:
    """The key of another principal that may call everything."""
    made = asking_hub.manage_json("create_key", "--org", "default", "--role", "operator", "other")
    until("the new key's acceptance", lambda: _accepts(asking_hub, made["key"]))
    return str(made["key"])


def _accepts(hub: Hub, key: str) -> bool:
    try:
        return bool(ask(hub.mcp_url, key, "tools/list", {}))
    except RpcFailed:
        return False


async def call(client: RawClient, tool: str, **more: Any) -> Any:
    """Call `tool` as a client that can show forms."""
    capabilities = more.pop("capabilities", FORMS)
    arguments = more.pop("arguments", {})
    params = {"name": tool, "arguments": arguments, "_meta": {CAPABILITIES: capabilities}, **more}
    return await client.request("tools/call", params)


async def refused(client: RawClient, tool: str, **more: Any) -> tuple[int, int]:
    """The JSON-RPC code and HTTP status with which the call is refused."""
    with pytest.raises(RpcFailed) as failed:
        await call(client, tool, **more)
    return failed.value.error["code"], failed.value.status


def answers_to(asked: Any, answer: Any = RED) -> dict[str, Any]:
    """The parameters of the retry that answers everything."""
    return {"requestState": asked["requestState"], "inputResponses": dict.fromkeys(asked["inputRequests"], answer)}


@pytest.mark.requirement("P5")
@pytest.mark.parametrize("era", ERAS)
async def test_each_round_is_one_exchange(client: RawClient, era: Era):
    first = await call(client, f"{era}__colours")
    assert first["resultType"] == "input_required"
    assert [each["params"]["message"] for each in first["inputRequests"].values()] == ["Colour 0?"]
    second = await call(client, f"{era}__colours", **answers_to(first))
    assert [each["params"]["message"] for each in second["inputRequests"].values()] == ["Colour 1?"]
    last = await call(client, f"{era}__colours", **answers_to(second))
    assert (last["resultType"], last["content"][0]["text"]) == ("complete", "red, red")


@pytest.mark.parametrize("era", ERAS)
async def test_unanswered_questions_are_asked_again(client: RawClient, era: Era):
    first = await call(client, f"{era}__colours")
    again = await call(client, f"{era}__colours", requestState=first["requestState"])
    assert again["inputRequests"] == first["inputRequests"]
    assert (await call(client, f"{era}__colours", **answers_to(again)))["inputRequests"]


async def test_answers_that_come_early_are_for_a_modern_upstream_to_judge(client: RawClient):
    asked = await call(client, "modern__colours")
    early = {"inputResponses": dict.fromkeys([*asked["inputRequests"], "unknown"], RED)}
    assert (await call(client, "modern__colours", **early))["inputRequests"] != asked["inputRequests"]


async def test_answers_that_come_early_mean_nothing_to_a_handshake_upstream(client: RawClient):
    asked = await call(client, "handshake__colours")
    early = {"inputResponses": dict.fromkeys(asked["inputRequests"], RED)}
    again = await call(client, "handshake__colours", **early)
    assert [each["params"]["message"] for each in again["inputRequests"].values()] == ["Colour 0?"]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("forged", ["", "nonsense", "A" * 200, 7, None, "é", ["x"]])
async def test_a_forged_state_is_refused(client: RawClient, era: Era, forged: Any):
    assert await refused(client, f"{era}__colours", requestState=forged, inputResponses={}) == (-32602, 400)


@pytest.mark.parametrize("era", ERAS)
async def test_an_altered_state_is_refused(client: RawClient, era: Era):
    state = (await call(client, f"{era}__colours"))["requestState"]
    altered = state[:-5] + ("A" if state[-5] != "A" else "B") + state[-4:]
    assert await refused(client, f"{era}__colours", requestState=altered) == (-32602, 400)


@pytest.mark.parametrize("era", ERAS)
async def test_a_state_belongs_to_its_request(client: RawClient, era: Era):
    retry = answers_to(await call(client, f"{era}__colours"))
    assert await refused(client, f"{era}__colours", arguments={"other": 1}, **retry) == (-32602, 400)
    assert await refused(client, f"{era}__think", **retry) == (-32602, 400)
    other = next(each for each in ERAS if each != era)
    assert await refused(client, f"{other}__colours", **retry) == (-32602, 400)


@pytest.mark.parametrize("era", ERAS)
async def test_a_state_belongs_to_its_principal(asking_hub: Hub, client: RawClient, other_key: str, era: Era):
    retry = answers_to(await call(client, f"{era}__colours"))
    async with raw_client(asking_hub.mcp_url, other_key, "modern") as other:
        assert await refused(other, f"{era}__colours", **retry) == (-32602, 400)
    assert (await call(client, f"{era}__colours", **retry))["inputRequests"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_state_belongs_to_its_endpoint(asking_hub: Hub, client: RawClient, era: Era):
    retry = answers_to(await call(client, f"{era}__colours"))
    async with raw_client(f"{asking_hub.mcp_url}/default", asking_hub.key, "modern") as elsewhere:
        assert await refused(elsewhere, f"{era}__colours", **retry) == (-32602, 400)


async def test_a_finished_call_cannot_be_resumed(client: RawClient):
    first = await call(client, "handshake__colours")
    second = await call(client, "handshake__colours", **answers_to(first))
    await call(client, "handshake__colours", **answers_to(second))
    assert await refused(client, "handshake__colours", **answers_to(second)) == (-32602, 400)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("bad", [7, [], {"ask-1": "red"}])
async def test_malformed_answers_are_refused_and_the_call_waits_on(client: RawClient, era: Era, bad: Any):
    first = await call(client, f"{era}__colours")
    state = first["requestState"]
    assert await refused(client, f"{era}__colours", requestState=state, inputResponses=bad) == (-32602, 400)
    assert (await call(client, f"{era}__colours", **answers_to(first)))["inputRequests"]


async def test_two_retries_at_once_do_not_both_get_the_call(client: RawClient, asking_hub: Hub):
    retry = answers_to(await call(client, "handshake__ponder"))
    pondering = asyncio.create_task(call(client, "handshake__ponder", **retry))
    await asyncio.to_thread(until, "the thought", lambda: "pondering" in marks_of(asking_hub))
    assert await refused(client, "handshake__ponder", **retry) == (-32602, 400)
    pondering.cancel()
    await asyncio.gather(pondering, return_exceptions=True)
    await asyncio.to_thread(until, "the end of the thought", lambda: marks_of(asking_hub)[-1] == "cancelled")


@pytest.mark.requirement("P7")
async def test_answers_reach_the_call_that_asked(client: RawClient):
    asked = [await call(client, "handshake__colours", arguments={"ctx": number}) for number in range(5)]
    for colour in ("first", "second"):
        asked = await asyncio.gather(
            *(
                call(
                    client,
                    "handshake__colours",
                    arguments={"ctx": number},
                    **answers_to(each, {"action": "accept", "content": {"colour": f"{colour}-{number}"}}),
                )
                for number, each in enumerate(asked)
            )
        )
    texts = [each["content"][0]["text"] for each in asked]
    assert texts == [f"first-{number}, second-{number}" for number in range(5)]


async def test_time_runs_out(tmp_path: Path):
    with running(tmp_path, limits="person_s=1") as hub:
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            asked = {era: answers_to(await call(client, f"{era}__colours")) for era in ERAS}
            await asyncio.to_thread(until, "the cancellation upstream", lambda: marks_of(hub) == ["cancelled"])
            await asyncio.sleep(1)
            for era in ERAS:
                assert await refused(client, f"{era}__colours", **asked[era]) == (-32602, 400)


async def test_the_hubs_end_ends_what_is_parked(tmp_path: Path):
    with running(tmp_path) as hub:
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            await call(client, "handshake__colours")
        assert hub.terminate() == 0
        until("the cancellation upstream", lambda: marks_of(hub) == ["cancelled"])


@pytest.mark.requirement("A1")
async def test_all_rounds_are_one_recorded_call(tmp_path: Path):
    with running(tmp_path) as hub:
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            for era in ERAS:
                result = await call(client, f"{era}__colours")
                while result["resultType"] == "input_required":
                    result = await call(client, f"{era}__colours", **answers_to(result))
        hub.terminate()
        for era in ERAS:
            lines = hub.manage("export_audit", "--upstream", era).splitlines()
            events = [json.loads(line) for line in lines]
            assert len({event["call_id"] for event in events}) == 1
            kinds = [event["kind"] for event in events]
            assert kinds == ["intent", "asked", "resumed", "asked", "resumed", "outcome"]
            assert events[-1]["outcome"] == "completed"
