"""HTTP upstreams of both eras, as real processes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec import structs

from tests.links.conftest import Listening, MemoryBook, spec, tool
from upstreams.connections import Connections
from upstreams.types import ClientFacts, Exchange

SERVER = "tests.links.sdk_server"


@dataclass
class Running:
    url: str
    process: asyncio.subprocess.Process

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def until_it_says(self, words: bytes) -> None:
        assert self.process.stderr is not None
        async with asyncio.timeout(10):
            while words not in await self.process.stderr.readline():
                continue


async def run(mode: str, port: int = 0) -> Running:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", SERVER, mode, str(port), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    path = "sse" if mode == "sse" else "mcp"
    return Running(f"http://127.0.0.1:{port}/{path}", process)


@pytest.fixture
async def sdk_http() -> AsyncIterator[Running]:
    running = await run("http")
    yield running
    await running.stop()


@pytest.fixture
async def sdk_sse() -> AsyncIterator[Running]:
    running = await run("sse")
    yield running
    await running.stop()


def text(result: bytes) -> str:
    return str(json.loads(result)["content"][0]["text"])


ERAS = ["handshake", "modern"]


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("era", ERAS)
async def test_both_eras_are_discovered_and_called(
    hub: Connections, book: MemoryBook, sdk_http: Running, era: Any
) -> None:
    upstream = spec(transport="http", url=sdk_http.url, era=era)
    hub.set_specs([upstream])
    await book.until(lambda: "u1" in book.listings)

    answer = await hub.call(upstream, tool("echo", {"text": "héllo"}))

    assert answer.era == era
    assert text(answer.result) == "héllo"
    assert {"tool", "resource", "template", "prompt"} == set(book.listings["u1"])
    facts = hub.facts("u1")
    assert facts is not None
    assert (facts.era, facts.instructions) == (era, "For tests.")


@pytest.mark.requirement("U1")
async def test_unknown_era_is_probed_and_modern_wins(hub: Connections, book: MemoryBook, sdk_http: Running) -> None:
    upstream = spec(url=sdk_http.url)
    assert (await hub.call(upstream, tool("echo", {"text": "x"}))).era == "modern"


@pytest.mark.requirement("P18")
@pytest.mark.parametrize("era", ERAS)
async def test_progress_reaches_the_exchange_without_our_token(hub: Connections, sdk_http: Running, era: Any) -> None:
    sink = Listening()
    await hub.call(spec(url=sdk_http.url, era=era), tool("count", {"to": 3}, sink=sink, progress=True))
    assert [note[1]["progress"] for note in sink.notes] == [1, 2, 3]
    assert all("progressToken" not in note[1] for note in sink.notes)


@pytest.mark.requirement("P18")
@pytest.mark.parametrize("era", ERAS)
async def test_cancelling_the_task_cancels_the_call_upstream(hub: Connections, sdk_http: Running, era: Any) -> None:
    upstream = spec(url=sdk_http.url, era=era)
    sink = Listening()
    await hub.call(upstream, tool("echo", {"text": "warm"}))
    call = asyncio.create_task(hub.call(upstream, tool("slow", {"seconds": 30}, sink=sink)))
    await asyncio.sleep(0.3)
    call.cancel()
    await sdk_http.until_it_says(b"cancelled")


@pytest.mark.requirement("P7")
async def test_elicitation_reaches_only_the_causing_exchange(hub: Connections, sdk_http: Running) -> None:
    upstream = spec(url=sdk_http.url, era="handshake")
    client = ClientFacts(capabilities={"elicitation": {}})
    sinks = [Listening(reply={"action": "accept", "content": {"colour": f"c{n}"}}) for n in range(5)]
    calls = [hub.call(upstream, tool("favourite", sink=sink, client=client, holder="user:1")) for sink in sinks]
    answers = await asyncio.gather(*calls)
    assert [text(answer.result) for answer in answers] == [f"accept c{n}" for n in range(5)]
    assert all(len(sink.asked) == 1 for sink in sinks)


@pytest.mark.requirement("P7")
async def test_shared_connection_is_never_asked(hub: Connections, sdk_http: Running) -> None:
    sink = Listening(reply={"action": "accept", "content": {"colour": "red"}})
    upstream = spec(url=sdk_http.url, era="handshake")
    answer = await hub.call(upstream, tool("favourite", sink=sink, client=ClientFacts({"elicitation": {}})))
    assert not sink.asked
    assert answer.error is not None


CAN_BE_ASKED = ClientFacts(capabilities={"elicitation": {}}, era="handshake")
RED = {"action": "accept", "content": {"colour": "red"}}


@pytest.mark.requirement("P5")
async def test_server_of_both_eras_is_spoken_to_in_the_era_of_each_client(
    hub: Connections, book: MemoryBook, sdk_http: Running
) -> None:
    upstream = spec(url=sdk_http.url, sharing="per-user")
    hub.set_specs([upstream])
    await book.until(lambda: "u1" in book.listings)

    def call(**facts: Any) -> Any:
        return hub.call(upstream, tool("favourite", sink=Listening(reply=RED), holder="user:1", **facts))

    old, new = await asyncio.gather(
        call(client=CAN_BE_ASKED), call(client=structs.replace(CAN_BE_ASKED, era="modern"))
    )
    assert (old.era, text(old.result)) == ("handshake", "accept red")
    assert new.era == "modern"
    facts = hub.facts("u1")
    assert facts is not None
    assert (facts.era, facts.both, facts.sessionless) == ("modern", True, True)
    assert book.reports["u1"].facts == facts


async def test_everybodys_connection_to_a_server_of_both_eras_is_modern(hub: Connections, sdk_http: Running) -> None:
    upstream = spec(url=sdk_http.url, sharing="shared")
    answer = await hub.call(upstream, tool("echo", {"text": "x"}, client=CAN_BE_ASKED))
    assert answer.era == "modern"


@pytest.mark.parametrize("kind", ["http-modern", "http-stateless"])
async def test_client_is_spoken_for_in_the_modern_era_where_there_are_no_sessions(
    hub: Connections, kind: str
) -> None:
    running = await run(kind)
    try:
        upstream = spec(url=running.url, sharing="per-user")
        answer = await hub.call(upstream, tool("echo", {"text": "x"}))
        answer = await hub.call(upstream, tool("echo", {"text": "x"}, client=CAN_BE_ASKED, holder="user:1"))
        assert (answer.era, text(answer.result)) == ("modern", "x")
    finally:
        await running.stop()


async def test_server_that_has_unlearned_the_handshake_is_spoken_to_in_the_other_era(
    hub: Connections, sdk_http: Running
) -> None:
    upstream = spec(url=sdk_http.url, sharing="per-user")
    await hub.call(upstream, tool("echo", {"text": "x"}))
    await sdk_http.stop()
    changed = await run("http-modern", int(sdk_http.url.split(":")[2].split("/")[0]))
    try:
        answer = await hub.call(upstream, tool("echo", {"text": "x"}, client=CAN_BE_ASKED, holder="user:1"))
        assert answer.era == "modern"
        assert (facts := hub.facts("u1")) is not None
        assert not facts.both
    finally:
        await changed.stop()


@pytest.mark.requirement("U1", "U18")
async def test_server_that_changes_its_era_is_found_again(hub: Connections, book: MemoryBook) -> None:
    first = await run("http-handshake")
    upstream = spec(url=first.url, transport="http", heartbeat_s=0.2)
    hub.set_specs([upstream])
    await book.until(lambda: "u1" in book.listings)
    await first.stop()
    await book.until(lambda: book.reports["u1"].state == "down")
    second = await run("http-modern", int(first.url.split(":")[2].split("/")[0]))
    try:
        await book.until(lambda: (facts := book.reports["u1"].facts) is not None and facts.era == "modern")
        assert (await hub.call(upstream, tool("echo", {"text": "x"}))).era == "modern"
    finally:
        await second.stop()


@pytest.mark.requirement("U13")
@pytest.mark.parametrize("era", ERAS)
async def test_list_changed_is_followed(hub: Connections, book: MemoryBook, sdk_http: Running, era: Any) -> None:
    upstream = spec(url=sdk_http.url, era=era)
    hub.set_specs([upstream])
    await book.until(lambda: "u1" in book.listings)
    await hub.call(upstream, tool("grow"))
    await book.until(lambda: any(each["name"] == "fresh" for each in book.listings["u1"]["tool"]))


@pytest.mark.requirement("U1")
async def test_forgotten_session_is_made_anew(hub: Connections, sdk_http: Running) -> None:
    upstream = spec(url=sdk_http.url, era="handshake")
    await hub.call(upstream, tool("echo", {"text": "one"}))
    await sdk_http.stop()
    again = await run("http", int(sdk_http.url.split(":")[2].split("/")[0]))
    try:
        assert text((await hub.call(upstream, tool("echo", {"text": "two"}))).result) == "two"
    finally:
        await again.stop()


@pytest.mark.requirement("U2")
@pytest.mark.parametrize("transport", ["auto", "sse"])
async def test_sse_upstream(hub: Connections, book: MemoryBook, sdk_sse: Running, transport: str) -> None:
    upstream = spec(url=sdk_sse.url, transport=transport)
    sink = Listening()
    answers = await asyncio.gather(*(hub.call(upstream, tool("echo", {"text": str(n)})) for n in range(10)))
    assert [text(answer.result) for answer in answers] == [str(n) for n in range(10)]
    await hub.call(upstream, tool("count", {"to": 2}, sink=sink, progress=True))
    assert len(sink.notes) == 2


@pytest.mark.requirement("U1")
async def test_mirrored_argument_headers(hub: Connections, book: MemoryBook, sdk_http: Running) -> None:
    upstream = spec(url=sdk_http.url, era="modern")
    call = Exchange("tools/call", {"name": "region", "arguments": {"where": "Zürich"}}, Listening())
    assert text((await hub.call(upstream, call)).result) == "Zürich"


@pytest.mark.requirement("P4")
async def test_unknown_parameter_headers_of_a_client_are_forwarded(hub: Connections, sdk_http: Running) -> None:
    call = tool("seen", param_headers={"mcp-param-colour": "red", "mcp-param-tone": "=?base64?w7w=?="})
    answer = await hub.call(spec(url=sdk_http.url, era="modern"), call)
    assert json.loads(text(answer.result)) == {"mcp-param-colour": "red", "mcp-param-tone": "=?base64?w7w=?="}


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("sent", [{}, {"mcp-param-label": "a lie"}], ids=["none", "a wrong one"])
async def test_tools_are_listed_again_when_headers_are_refused(
    hub: Connections, book: MemoryBook, sdk_http: Running, sent: dict[str, str]
) -> None:
    upstream = spec(url=sdk_http.url, era="modern")
    hub.set_specs([upstream])
    await book.until(lambda: "u1" in book.listings)
    await hub.call(upstream, tool("change_parcel"))
    answers = [await hub.call(upstream, tool("parcel", {"label": "fragile"}, param_headers=sent)) for _ in range(2)]
    assert [json.loads(text(answer.result)) for answer in answers] == [{"mcp-param-label": "fragile"}] * 2
    assert [report.state for _, report in book.history].count("up") == 1


@pytest.mark.requirement("P4")
async def test_tool_with_unusable_annotations_is_left_out(
    hub: Connections, book: MemoryBook, sdk_http: Running
) -> None:
    hub.set_specs([spec(url=sdk_http.url)])
    await book.until(lambda: "u1" in book.listings)
    names = {each["name"] for each in book.listings["u1"]["tool"]}
    assert "region" in names
    assert "twice" not in names
