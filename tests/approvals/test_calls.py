"""A call that a rule asks about, from the client's side: held, let through once, and never otherwise."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.approvals.conftest import ALICE, ASKABLE, BOB, OTHER, OWNER, Place, id_of, page_of, settled, why
from tests.harness.clients import python_client
from tests.harness.raw import ACCEPT, HANDSHAKE, PROTOCOL, RpcFailed, answer_of, ask, raw_client
from tests.harness.waiting import until


@pytest.mark.requirement("O10")
async def test_a_modern_client_is_sent_to_the_page_and_goes_on_once_it_is_approved(place: Place) -> None:
    asked = place.mark("modern")
    assert asked["resultType"] == "input_required"
    id = id_of(page_of(asked))
    early = asyncio.create_task(place.marked("modern", **settled(asked)))
    assert "once" in await asyncio.to_thread(place.answer, id, OTHER, "0")
    assert not (await early).get("isError")
    assert place.done().count("modern") == 1
    row = place.api("GET", f"approvals/{id}").json()
    assert row["state"] == "used"
    until("its outcome on record", lambda: len(_events(place, row["call_id"])) == 3)
    assert _events(place, row["call_id"]) == [("asked", "ask"), ("resumed", "allow"), ("outcome", "allow")]


@pytest.mark.requirement("O10")
async def test_a_retry_before_the_answer_is_sent_to_the_same_page_again(place: Place) -> None:
    asked = place.mark("patient")
    again = await place.marked("patient", **settled(asked))
    assert page_of(again) == page_of(asked)
    assert page_of(place.mark("patient")) == page_of(asked)
    assert len([each for each in place.waiting() if each["arguments"] == {"word": "patient"}]) == 1


@pytest.mark.requirement("O10")
async def test_the_sdks_handshake_client_waits_hears_progress_and_gets_its_answer(place: Place) -> None:
    heard: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async with python_client(place.hub.mcp_url, place.keys[ALICE], "legacy") as client:
        call = asyncio.create_task(client.call_tool("sdk__mark", {"word": "sdk"}, progress_callback=progress))
        held = await _held(place, "sdk")
        await asyncio.to_thread(place.answer, held["id"], OWNER, "0")
        result = await call
    assert not result.is_error
    assert place.done().count("sdk") == 1


@pytest.mark.requirement("O10")
async def test_a_client_that_cannot_open_pages_is_told_to_come_again_and_does(place: Place) -> None:
    async with raw_client(place.hub.mcp_url, place.keys[ALICE], "handshake") as client:
        first = await client.call("sdk__mark", word="later")
        assert why(first) == "approval_pending"
        facts = first["_meta"]["mcphub/error"]
        assert facts["retryable"]
        assert facts["outcome"] == "not_sent"
        url = facts["url"]
        assert url in first["content"][0]["text"]
        await asyncio.to_thread(place.answer, id_of(url), OTHER, "0")
        assert not (await client.call("sdk__mark", word="later")).get("isError")
        assert why(await client.call("sdk__mark", word="later")) == "approval_pending"
    assert place.done().count("later") == 1


@pytest.mark.requirement("O10")
async def test_a_client_of_2025_11_25_gets_the_page_as_an_error_and_hears_when_it_is_answered(place: Place) -> None:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {place.keys[ALICE]}"}
        hello = {"protocolVersion": HANDSHAKE, "capabilities": ASKABLE, "clientInfo": {"name": "raw", "version": "1"}}
        begun = await http.post(place.hub.mcp_url, json=_message("initialize", hello), headers=headers)
        headers |= {"MCP-Protocol-Version": HANDSHAKE, "Mcp-Session-Id": begun.headers["mcp-session-id"]}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await http.post(place.hub.mcp_url, json=ready, headers=headers)

        async def call() -> dict[str, Any]:
            params = {"name": "sdk__mark", "arguments": {"word": "page"}}
            return answer_of(await http.post(place.hub.mcp_url, json=_message("tools/call", params), headers=headers))

        async with http.stream("GET", place.hub.mcp_url, headers=headers) as news:
            error = (await call())["error"]
            assert error["code"] == -32042
            (elicitation,) = error["data"]["elicitations"]
            await asyncio.to_thread(place.answer, id_of(elicitation["url"]), OTHER, "0")
            async with asyncio.timeout(30):
                async for line in news.aiter_lines():
                    if "notifications/elicitation/complete" in line:
                        break
            assert elicitation["elicitationId"] in line
        assert not (await call())["result"].get("isError")
    assert place.done().count("page") == 1


@pytest.mark.requirement("O10")
def test_an_approval_is_for_these_arguments_this_principal_and_one_time(place: Place) -> None:
    asked = place.mark("exact")
    place.answer(id_of(page_of(asked)), OTHER, "0")
    assert page_of(place.mark("exakt")) != page_of(asked)
    assert page_of(place.mark("exact", BOB)) != page_of(asked)
    assert "exact" not in place.done()
    assert not place.mark("exact", **settled(asked)).get("isError")
    repeated = place.mark("exact", **settled(asked))
    assert repeated["resultType"] == "input_required"
    assert place.done().count("exact") == 1


@pytest.mark.requirement("O10")
def test_many_calls_at_once_share_one_approval_and_one_goes_through(place: Place) -> None:
    async def race() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(place.marked("race", capabilities={}) for _ in range(8))))

    asked = place.mark("race")
    place.answer(id_of(page_of(asked)), OTHER, "0")
    results = asyncio.run(race())
    assert len([each for each in results if not each.get("isError")]) == 1
    assert place.done().count("race") == 1


@pytest.mark.requirement("O10")
async def test_a_denial_reaches_the_client_with_its_reason_and_stands(place: Place) -> None:
    asked = place.mark("no")
    place.answer(id_of(page_of(asked)), OTHER, "deny", note="not on a Thursday")
    for _ in range(2):
        refused = await place.marked("no", **settled(asked))
        assert why(refused) == "denied"
        assert f"{OTHER} denied this call: not on a Thursday." in refused["content"][0]["text"]
        assert refused["_meta"]["mcphub/error"]["outcome"] in ("not_sent", "unknown")
    assert why(place.mark("no")) == "denied"
    assert "no" not in place.done()
    assert not [each for each in place.waiting() if each["arguments"] == {"word": "no"}]


@pytest.mark.requirement("O10")
def test_approved_for_a_time_is_for_every_call_of_a_principal_to_a_tool_until_taken_back(
    place: Place,
) -> None:
    email = OTHER
    asked = place.mark("first", email)
    id = id_of(page_of(asked))
    assert "15 minutes" in place.answer(id, OWNER, "900")
    for word in ("first", "second", "third"):
        assert not place.mark(word, email).get("isError")
    assert place.mark("first-of-bob", BOB)["resultType"] == "input_required"
    assert place.api("DELETE", f"approvals/{id}").status_code == 204
    assert place.mark("fourth", email)["resultType"] == "input_required"
    assert place.api("DELETE", f"approvals/{id}").status_code == 409


@pytest.mark.requirement("O10")
def test_a_client_that_declines_the_page_ends_its_call(place: Place) -> None:
    asked = place.mark("declined")
    answers = {key: {"action": "decline"} for key in asked["inputRequests"]}
    ended = place.mark("declined", inputResponses=answers, requestState=asked["requestState"])
    assert why(ended) == "cancelled"
    assert ended["_meta"]["mcphub/error"]["outcome"] == "not_sent"


@pytest.mark.requirement("O10")
async def test_questions_of_the_server_in_mid_call_need_no_second_approval(place: Place) -> None:
    """The upstream asks the client twice; each round is decided anew, and is the approved call as before."""
    capabilities = {"elicitation": {"form": {}, "url": {}}}
    first = await asyncio.to_thread(_colours, place, capabilities)
    place.answer(id_of(page_of(first)), OTHER, "0")
    asked = await asyncio.to_thread(_colours, place, capabilities, **settled(first))
    rounds = 0
    states = []
    while asked.get("resultType") == "input_required":
        ((key, question),) = asked["inputRequests"].items()
        assert question["params"].get("mode") != "url"
        told = {key: {"action": "accept", "content": {"colour": "red"}}}
        states.append({"inputResponses": told, "requestState": asked["requestState"]})
        asked = await asyncio.to_thread(_colours, place, capabilities, **states[-1])
        rounds += 1
    assert rounds >= 1
    assert not asked.get("isError"), asked
    repeated = await asyncio.to_thread(_colours, place, capabilities, **states[0])
    assert page_of(repeated).startswith(place.hub.url)


@pytest.mark.requirement("O10")
def test_a_hidden_tool_stays_hidden_and_a_listed_one_is_listed(place: Place) -> None:
    rule = {"effect": "deny", "tools": ["mark"], "priority": 5, "condition": f"principal.email == '{BOB}'"}
    assert place.api("PUT", "rules/not-bob", **rule).is_success
    try:
        with pytest.raises(RpcFailed, match="Unknown tool"):
            place.mark("hidden", BOB)
    finally:
        place.api("DELETE", "rules/not-bob")


def _colours(place: Place, capabilities: Any, **round_: Any) -> dict[str, Any]:
    params = {"name": "modern__colours", "arguments": {}, **round_}
    params["_meta"] = {f"{PROTOCOL}/clientCapabilities": capabilities}
    return dict(ask(place.hub.mcp_url, place.keys[ALICE], "tools/call", params))


async def _held(place: Place, word: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            found = [each for each in await asyncio.to_thread(place.waiting) if each["arguments"].get("word") == word]
            if found:
                return found[0]
            await asyncio.sleep(0.1)


def _events(place: Place, call_id: str) -> list[tuple[str, str]]:
    """Kind and effect of what is on record of a call, in order."""
    with closing(sqlite3.connect(f"file:{place.hub.database}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT kind, effect FROM audit_auditevent WHERE call_id = ? ORDER BY id", [call_id])
        return [(str(kind), str(effect)) for kind, effect in rows]


def _message(method: str, params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
