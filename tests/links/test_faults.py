"""What a call ends with when its HTTP upstream misbehaves: the right reason, an honest outcome, one attempt."""

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mcphub.core.limits import Limits
from tests.faults.evil_upstream import EvilUpstream
from tests.harness.waiting import until
from tests.links.conftest import Listening, MemoryBook, spec, tool
from upstreams import errors
from upstreams.connections import Connections
from upstreams.types import Answer, UpstreamSpec

METADATA = "http://169.254.169.254/latest/"
SECRET = "hunter2-in-a-stack-trace"


@dataclass
class Evil:
    spec: UpstreamSpec
    log: Path
    hub: Connections

    async def act(self, do: str, **arguments: Any) -> Answer:
        return await self.hub.call(self.spec, tool("act", {"do": do, **arguments}, sink=Listening(), progress=True))

    def hurry(self) -> None:
        """Give calls only a moment from now on."""
        self.hub.set_specs([replace(self.spec, call_s=0.5, call_hard_s=1)])

    def seen(self, do: str) -> int:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        calls = [line["message"] for line in lines if line.get("message", {}).get("method") == "tools/call"]
        return sum(call["params"]["arguments"]["do"] == do for call in calls)

    def left(self) -> bool:
        return '"left"' in self.log.read_text()


@pytest.fixture(params=["handshake", "modern"])
async def evil(request: pytest.FixtureRequest, hub: Connections, tmp_path: Path) -> AsyncIterator[Evil]:
    log = tmp_path / "truth"
    upstream = EvilUpstream(log, handshake_only=request.param == "handshake")
    server = await asyncio.start_server(upstream.connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    yield Evil(spec(url=url, era=request.param, call_s=8, call_hard_s=10), log, hub)
    server.close()


CASES: list[tuple[str, dict[str, Any], type[errors.UpstreamError], str]] = [
    ("die", {}, errors.Lost, "unknown"),
    ("hang", {}, errors.TimedOut, "unknown"),
    ("drip", {}, errors.TimedOut, "unknown"),
    ("garbage", {"body": "{not json"}, errors.ProtocolFault, "unknown"),
    ("garbage", {"body": '{"jsonrpc":"1.0","id":3,"result":{}}'}, errors.ProtocolFault, "unknown"),
    ("garbage", {"body": "[]"}, errors.ProtocolFault, "unknown"),
    ("garbage", {"body": "[" * 100_000}, errors.ProtocolFault, "unknown"),
    ("garbage", {"body": '{"jsonrpc":"2.0","id":3,"result":NaN}'}, errors.ProtocolFault, "unknown"),
    ("garbage", {"body": ""}, errors.ProtocolFault, "unknown"),
    ("wrong_id", {}, errors.ProtocolFault, "unknown"),
    ("huge", {"bytes": 100 * 2**20}, errors.TooLarge, "unknown"),
    ("flood", {}, errors.TooLarge, "unknown"),
    ("bomb", {}, errors.TooLarge, "unknown"),
    ("bomb", {"encoding": "br"}, errors.TooLarge, "unknown"),
    ("cut", {}, errors.Lost, "unknown"),
    ("status", {"status": 401}, errors.NeedsConnection, "not_sent"),
    (
        "status",
        {"status": 403, "headers": {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}},
        errors.NeedsScope,
        "not_sent",
    ),
    ("status", {"status": 429, "headers": {"Retry-After": "7"}}, errors.RateLimited, "not_sent"),
    ("status", {"status": 500, "body": f"<html>{SECRET}</html>"}, errors.UpstreamFailed, "failed"),
    ("status", {"status": 504}, errors.UpstreamFailed, "unknown"),
    ("status", {"status": 202}, errors.ProtocolFault, "unknown"),
    ("status", {"status": 302, "headers": {"Location": METADATA}}, errors.EgressRefused, "not_sent"),
    ("status", {"status": 307, "headers": {"Location": "//evil.example/"}}, errors.EgressRefused, "not_sent"),
    ("status", {"status": 307, "headers": {"Location": "/mcp?again"}}, errors.EgressRefused, "not_sent"),
]


@pytest.mark.requirement("U19")
@pytest.mark.parametrize(("do", "arguments", "kind", "outcome"), CASES)
async def test_fault_is_named_honestly(
    evil: Evil, do: str, arguments: dict[str, Any], kind: type[errors.UpstreamError], outcome: str
) -> None:
    await evil.act("echo", text="warm")
    if kind is errors.TimedOut:
        evil.hurry()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(errors.UpstreamError) as caught:
        await evil.act(do, **arguments)

    assert isinstance(caught.value, kind)
    assert caught.value.outcome == outcome
    assert SECRET not in caught.value.text
    assert evil.seen(do) == (2 if "again" in str(arguments) else 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 * 1024


def said(answer: Answer) -> str:
    return str(json.loads(answer.result)["content"][0]["text"])


async def test_answer_with_the_id_of_another_call_reaches_neither(evil: Evil) -> None:
    await evil.act("echo", text="warm")
    waiting = asyncio.create_task(evil.act("echo", text="mine", pause=1))
    await asyncio.to_thread(until, "the first call", lambda: evil.seen("echo") == 2)
    with pytest.raises(errors.ProtocolFault):
        await evil.act("anothers_id")
    assert said(await waiting) == "mine"


@pytest.mark.parametrize("stream", [False, True])
async def test_second_answer_to_one_request_reaches_nobody(evil: Evil, stream: bool) -> None:
    assert said(await evil.act("twice", stream=stream)) == "first"
    assert said(await evil.act("echo", text="mine")) == "mine"


async def test_rate_limit_names_its_seconds(evil: Evil) -> None:
    with pytest.raises(errors.RateLimited) as caught:
        await evil.act("status", status=429, headers={"Retry-After": "7"})
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("limits", [Limits(connect_s=600)], ids=["no time limit helps"])
async def test_refused_connection_was_not_sent_and_fails_soon(hub: Connections) -> None:
    with pytest.raises(errors.Unreachable) as caught:
        await hub.call(spec(url="http://127.0.0.1:9/mcp"), tool("x"))
    assert (caught.value.outcome, caught.value.retryable) == ("not_sent", True)


@pytest.mark.requirement("U21")
@pytest.mark.parametrize("url", [METADATA, "http://127.0.0.1:1/", "http://0x7f000001/", "http://[::ffff:10.0.0.1]/"])
async def test_private_address_is_never_connected_to(hub: Connections, url: str) -> None:
    with pytest.raises(errors.EgressRefused) as caught:
        await hub.call(spec(url=url, egress_allow=()), tool("x"))
    assert caught.value.outcome == "not_sent"


@pytest.mark.requirement("U18")
async def test_breaker_spares_a_failing_upstream(evil: Evil) -> None:
    for _ in range(5):
        with pytest.raises(errors.UpstreamFailed):
            await evil.act("status", status=500)
    with pytest.raises(errors.BreakerOpen) as caught:
        await evil.act("echo")
    assert caught.value.outcome == "not_sent"
    assert caught.value.retry_after is not None
    assert evil.seen("echo") == 0


@pytest.mark.requirement("U18")
async def test_only_what_may_run_twice_is_sent_again_when_its_answer_is_lost(evil: Evil) -> None:
    stumbling = {"do": "stumble", "nonce": "a", "text": "up again"}
    answer = await evil.hub.call(evil.spec, tool("act", stumbling, resend=True))
    assert json.loads(answer.result)["content"][0]["text"] == "up again"
    assert evil.seen("stumble") == 2
    with pytest.raises(errors.Lost):
        await evil.hub.call(evil.spec, tool("act", {**stumbling, "nonce": "b"}))
    assert evil.seen("stumble") == 3
    with pytest.raises(errors.Lost):
        await evil.hub.call(evil.spec, tool("act", {"do": "die"}, resend=True))
    assert evil.seen("die") == 2


@pytest.mark.requirement("U18")
async def test_left_alone_is_shown_until_a_trial_works(evil: Evil, book: MemoryBook) -> None:
    evil.hub.set_specs([evil.spec])
    await book.until(lambda: "u1" in book.listings)
    for _ in range(5):
        with pytest.raises(errors.UpstreamFailed):
            await evil.act("status", status=500)
    await book.until(lambda: book.reports["u1"].state == "resting")
    assert "5 calls in a row failed" in book.reports["u1"].error
    assert "HTTP 500" in book.reports["u1"].error
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(errors.BreakerOpen):
                await evil.act("echo")
                break
            await asyncio.sleep(0.05)
    await book.until(lambda: book.reports["u1"].state == "up")


async def test_lone_surrogate_of_a_cut_emoji_passes_unchanged(evil: Evil) -> None:
    answer = await evil.act("echo", text="a\ud83db")
    assert json.loads(answer.result)["content"][0]["text"] == "a\ud83db"


async def test_forgotten_session_is_made_anew_and_sent_once_more(evil: Evil) -> None:
    await evil.act("forget")
    answers = await asyncio.gather(*(evil.act("echo", text=str(n)) for n in range(10)))
    assert [json.loads(answer.result)["content"][0]["text"] for answer in answers] == [str(n) for n in range(10)]
    assert evil.seen("echo") in (10, 20)
