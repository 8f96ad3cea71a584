"""The modern era over the wire: envelopes, headers, statuses, streams, leaving."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import MODERN, call, events, eventually, modern_headers, post, seen, text_of

PREFIX = "io.modelcontextprotocol/"


@pytest.mark.requirement("P4")
async def test_the_core_sees_the_request_without_its_envelope(client: httpx.AsyncClient) -> None:
    message = call("request", {"a": 1}, progressToken="t", traceparent="00-1-2-01", vendor="kept")
    facts = text_of(await post(client, message))
    assert facts == {
        "era": "modern",
        "revision": MODERN,
        "client": {"name": "test", "version": "1"},
        "capabilities": {},
        "params": {"name": "request", "arguments": {"a": 1}, "_meta": {"vendor": "kept"}},
        "token": "t",
        "trace": {"traceparent": "00-1-2-01"},
        "session": None,
    }


async def test_trace_context_of_http_counts_too(client: httpx.AsyncClient) -> None:
    facts = text_of(await post(client, call("request"), traceparent="00-a-b-01", tracestate="k=v"))
    assert facts["trace"] == {"traceparent": "00-a-b-01", "tracestate": "k=v"}
    assert facts["params"] == {"name": "request", "arguments": {}}


HEADER_LIES: list[dict[str, str]] = [
    {"mcp_name": "other"},
    {"mcp_name": ""},
    {"mcp_name": "Whoami"},
    {"mcp_name": "=?base64?!!?="},
    {"mcp_method": "tools/list"},
    {"mcp_method": ""},
    {"mcp_protocol_version": "2025-06-18"},
    {"mcp_protocol_version": ""},
    {"mcp_protocol_version": "2099-01-01"},
]


@pytest.mark.parametrize("lie", HEADER_LIES, ids=str)
async def test_f48_headers_that_disagree_with_the_body(client: httpx.AsyncClient, lie: dict[str, str]) -> None:
    answer = await post(client, call("whoami", id_="x"), **lie)
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["id"]) == (400, -32020, "x")


async def test_a_name_may_come_encoded(client: httpx.AsyncClient) -> None:
    assert text_of(await post(client, call("whoami"), mcp_name="=?base64?d2hvYW1p?=")) == "Alice"


@pytest.mark.parametrize("missing", ["protocolVersion", "clientCapabilities"])
async def test_envelope_keys_are_required(client: httpx.AsyncClient, missing: str) -> None:
    message = call("whoami")
    del message["params"]["_meta"][PREFIX + missing]
    answer = await post(client, message)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize(
    ("key", "value"),
    [("clientCapabilities", []), ("clientInfo", "me"), ("logLevel", "loud"), ("logLevel", [])],
)
async def test_envelope_values_are_checked(client: httpx.AsyncClient, key: str, value: Any) -> None:
    answer = await post(client, call("whoami", **{PREFIX + key: value}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("key", ["clientInfo", "clientCapabilities"])
async def test_a_client_may_say_so_much_of_itself(client: httpx.AsyncClient, key: str) -> None:
    for length, status in ((60_000, 200), (66_000, 400)):
        answer = await post(client, call("whoami", **{PREFIX + key: {"name": "x" * length, "version": "1"}}))
        assert answer.status_code == status
    assert answer.json()["error"]["code"] == -32602


async def test_unknown_revisions_are_told_which_there_are(client: httpx.AsyncClient) -> None:
    message = call("whoami", **{PREFIX + "protocolVersion": "2099-01-01"})
    answer = await post(client, message, mcp_protocol_version="2099-01-01")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32022
    assert answer.json()["error"]["data"] == {"supported": [MODERN], "requested": "2099-01-01"}


@pytest.mark.parametrize("method", ["ping", "initialize", "logging/setLevel", "resources/subscribe", "no/such"])
async def test_methods_of_another_era_are_404(client: httpx.AsyncClient, method: str) -> None:
    message = {**call("whoami"), "method": method}
    answer = await post(client, message)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)


async def test_notifications_are_acknowledged_and_responses_are_not(client: httpx.AsyncClient) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    assert (await post(client, note)).status_code == 202
    assert (await post(client, {"jsonrpc": "2.0", "id": 1, "result": {}, "method": ""} | {})).status_code == 400
    answer = await client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "result": {}}, headers=modern_headers(note))
    assert answer.status_code == 400
    answer = await client.post("/mcp", json=[call("whoami")], headers=modern_headers(note))
    assert answer.status_code == 400


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_there_is_nothing_but_post(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/mcp", headers=modern_headers(call("whoami")))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_notifications_make_the_answer_a_stream(client: httpx.AsyncClient) -> None:
    answer = await post(client, call("progress", {"steps": 2}, progressToken=5))
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-accel-buffering"] == "no"
    *progress, last = events(answer.text)
    assert [one["params"] for one in progress] == [
        {"progress": 1, "total": 2, "progressToken": 5},
        {"progress": 2, "total": 2, "progressToken": 5},
    ]
    assert last["result"]["content"][0]["text"] == "done"


async def test_progress_that_nobody_asked_for_stays_inside(client: httpx.AsyncClient) -> None:
    answer = await post(client, call("progress", {"steps": 2}))
    assert answer.headers["content-type"] == "application/json"


async def test_a_client_without_streams_gets_the_plain_answer(client: httpx.AsyncClient) -> None:
    answer = await post(client, call("progress", {"steps": 2}, progressToken=5), accept="application/json")
    assert text_of(answer) == "done"


async def test_long_silence_is_bridged_by_comments(client: httpx.AsyncClient) -> None:
    answer = await post(client, call("echo", {"pause": 3}))
    assert answer.headers["content-type"] == "text/event-stream"
    assert ": keep-alive" in answer.text
    assert events(answer.text)[-1]["result"]["content"][0]["text"] == '{"pause": 3}'


@pytest.mark.requirement("P18")
@pytest.mark.parametrize("streaming", [False, True])
async def test_f43_a_client_that_leaves_has_cancelled(client: httpx.AsyncClient, streaming: bool) -> None:
    id_ = f"leaves-{streaming}"
    leaving = asyncio.create_task(post(client, call("wait", {"begun": streaming}, id_=id_)))
    await asyncio.sleep(0.3)
    leaving.cancel()

    async def cancelled() -> bool:
        return id_ in (await seen(client))["cancelled"]

    await eventually(cancelled, within=1)


async def test_f41_equal_ids_never_meet(client: httpx.AsyncClient) -> None:
    calls = [post(client, call("echo", {"n": n, "pause": 0.2 * (n % 2)})) for n in range(50)]
    answers = await asyncio.gather(*calls)
    assert [text_of(answer)["n"] for answer in answers] == list(range(50))


async def test_ids_come_back_as_they_were(client: httpx.AsyncClient) -> None:
    ids: list[Any] = [0, -3, 7, "7", "", 'ä\u2028"\\', 12345678901234567890123]
    answers = [await post(client, call("whoami", id_=id_)) for id_ in ids]
    assert [answer.json()["id"] for answer in answers] == ids


async def test_a_subscription_streams_until_the_client_leaves(client: httpx.AsyncClient) -> None:
    message = {**call("x", id_="sub"), "method": "subscriptions/listen"}
    message["params"] = {"notifications": {}, "_meta": message["params"]["_meta"]}
    async with client.stream("POST", "/mcp", json=message, headers=modern_headers(message)) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "event: message"
        first = json.loads((await anext(lines))[6:])
        assert first["method"] == "notifications/subscriptions/acknowledged"
        while await anext(lines) != ": keep-alive":
            pass

    async def cancelled() -> bool:
        return "sub" in (await seen(client))["cancelled"]

    await eventually(cancelled, within=1)
    assert (await post(client, message, accept="application/json")).status_code == 406


async def test_f37_a_subscription_ends_when_its_key_is_revoked(client: httpx.AsyncClient) -> None:
    message = {**call("x", id_="revoked"), "method": "subscriptions/listen"}
    message["params"] = {"notifications": {}, "_meta": message["params"]["_meta"]}
    headers = modern_headers(message, "bob-key")
    try:
        async with asyncio.timeout(30), client.stream("POST", "/mcp", json=message, headers=headers) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "event: message"
            await post(client, call("revoke", {"key": "bob-key"}))
            rest = [line async for line in lines]
        assert events("\n".join(rest))[-1]["error"]["code"] == -32800
        assert (await post(client, call("whoami"), key="bob-key")).status_code == 401
    finally:
        await post(client, call("restore"))
