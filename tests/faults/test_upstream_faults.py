"""What a client gets when an upstream fails: soon, plainly, and with an honest word on what may have happened."""

import time
from typing import Any

import pytest

from tests.faults.conftest import CALL_S, HARD_S, Evil
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.waiting import until

SECRET = "postgresql://admin:hunter2@10.0.0.1/prod"

FAULTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("F02", {"do": "die"}, "lost", "unknown"),
    ("F03", {"do": "hang"}, "timeout", "unknown"),
    ("F04", {"do": "drip"}, "timeout", "unknown"),
    ("F05", {"do": "garbage", "body": "{not json"}, "protocol", "unknown"),
    ("F05", {"do": "garbage", "body": '{"jsonrpc":"1.0"}'}, "protocol", "unknown"),
    ("F05", {"do": "wrong_id"}, "protocol", "unknown"),
    ("F06", {"do": "huge", "bytes": 100 * 2**20}, "too_large", "unknown"),
    ("F06", {"do": "flood"}, "too_large", "unknown"),
    ("F07", {"do": "cut"}, "lost", "unknown"),
    ("F11", {"do": "status", "status": 429, "headers": {"Retry-After": "7"}}, "rate_limited", "not_sent"),
    ("F12", {"do": "status", "status": 500, "body": f"<html>{SECRET}</html>"}, "upstream_error", "failed"),
    (
        "F13",
        {"do": "status", "status": 302, "headers": {"Location": "http://169.254.169.254/"}},
        "egress_blocked",
        "not_sent",
    ),
]


@pytest.mark.requirement("U19")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("arguments", "reason", "outcome"),
    [fault[1:] for fault in FAULTS],
    ids=[f"{name}-{arguments['do']}" for name, arguments, *_ in FAULTS],
)
async def test_fault_ends_in_bounded_time_with_a_plain_explanation(
    evil: Evil, era: Era, arguments: dict[str, Any], reason: str, outcome: str
):
    before = len(evil.truth.seen(arguments["do"]))
    async with raw_client(evil.hub.mcp_url, evil.hub.key, era) as client:
        began = time.monotonic()
        answer = await client.call("evil__act", **arguments)
        took = time.monotonic() - began
    assert answer["isError"]
    told = answer["_meta"]["mcphub/error"]
    assert (told["reason"], told["outcome"]) == (reason, outcome)
    assert told["call_id"] in answer["content"][0]["text"]
    assert took <= HARD_S + 1
    assert SECRET not in str(answer)
    assert len(evil.truth.seen(arguments["do"])) == before + 1, "sent more than once"


@pytest.mark.requirement("P18")
async def test_timed_out_call_is_cancelled_upstream(evil: Evil):
    async with raw_client(evil.hub.mcp_url, evil.hub.key, "modern") as client:
        await client.call("evil__act", do="hang")
    until("the end of the upstream's connection", lambda: evil.truth.left("hang"), CALL_S)


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("era", ERAS)
async def test_forgotten_session_is_made_anew_unnoticed(evil: Evil, era: Era):
    async with raw_client(evil.hub.mcp_url, evil.hub.key, era) as client:
        await client.call("evil__act", do="forget")
        answer = await client.call("evil__act", do="echo", text="still here")
    assert answer["content"][0]["text"] == "still here"
