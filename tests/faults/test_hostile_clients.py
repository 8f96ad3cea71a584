"""Clients that mean no good, one row of the matrix each, on both servers.

While one of them is at work honest clients are answered, and afterwards the hub holds no more than before.
"""

import asyncio
import contextlib
import json
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.faults.baseline import Baseline, WatchedHub
from tests.faults.conftest import evil_upstream
from tests.faults.histories import record
from tests.faults.nonces import echoed
from tests.faults.truth import Truth
from tests.harness.raw import ACCEPT, ERAS, MODERN, Era, RawClient, RpcFailed, raw_client
from tests.harness.waiting import until
from tests.harness.wire import Heard, dial, request, say
from tests.soak.honest import Honest
from tests.soak.idle_sessions import idled
from tests.soak.slow_clients import ATTACKS, Attack, attacked, is_installed

HEADER_S, BODY_S, WRITE_S = 1.0, 1.5, 1.0
LIMITS = f"header_s={HEADER_S},body_s={BODY_S},write_s={WRITE_S},event_bytes=200000,keepalive_s=1"
ROOM_S = 6.0
"""What a busy machine may add to a deadline of the hub."""

ELSEWHERE = "127.0.0.2"
"""Another address of this machine: the hostile ones call from there."""


@dataclass(frozen=True, slots=True)
class Met:
    """A hub that hostile and honest clients meet, what its upstream says, and a second key."""

    hub: WatchedHub
    truth: Truth
    second: str

    def key(self, name: str, role: str = "operator") -> str:
        """A new key."""
        return str(self.hub.manage_json("create_key", name, "--org", "default", "--role", role)["key"])

    def shell(self, code: str) -> None:
        """Change something as an operator would."""
        self.hub.manage("shell", "--no-imports", "--command", code)


@pytest.fixture(scope="module", params=["up", "serve"])
def met(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """`up` on Daphne and `serve` on uvicorn."""
    folder = tmp_path_factory.mktemp(f"hostile-{request.param}")
    with evil_upstream(folder, "both") as (servers, truth):
        if request.param == "up":
            with WatchedHub(folder / "hub", limits=LIMITS) as hub:
                yield _met(hub.up("--config", str(servers)), truth)
        else:
            with WatchedHub(folder / "hub", key=None, limits=LIMITS) as hub:
                hub.prepare(servers)
                yield _met(hub.serve(), truth)


def _met(hub: WatchedHub, truth: Truth) -> Met:
    hub.until_listed("evil")
    made = hub.manage_json("create_key", "second", "--org", "default", "--role", "operator")
    return Met(hub, truth, str(made["key"]))


async def at_rest(met: Met) -> Baseline:
    """The baseline, with as many connections to the upstream open as honest clients keep open."""
    await echoed(met.hub.mcp_url, [met.hub.key], clients=8, answers=64)
    return await asyncio.to_thread(Baseline, met.hub)


def headers_of(key: str, **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {key}",
        "Accept": ACCEPT,
        "Content-Type": "application/json",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def modern_call(tool: str = "evil__act", id_: Any = 1, **arguments: Any) -> dict[str, Any]:
    prefix = "io.modelcontextprotocol"
    meta = {f"{prefix}/protocolVersion": MODERN, f"{prefix}/clientCapabilities": {}}
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


def modern_headers(key: str, tool: str = "evil__act") -> dict[str, str]:
    return headers_of(key, MCP_Protocol_Version=MODERN, Mcp_Method="tools/call", Mcp_Name=tool)


def post(met: Met, body: bytes, **changes: str) -> Heard:
    return say(met.hub.port, request("POST /mcp HTTP/1.1", body, modern_headers(met.hub.key) | changes))


# --- F45 to F49: what a single hostile client does ------------------------------------------------------


def f45_slow_headers(met: Met) -> None:
    links = [dial(met.hub.port, source=ELSEWHERE) for _ in range(40)]
    began = time.monotonic()
    for link in links:
        link.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    while time.monotonic() - began < HEADER_S / 2:
        for link in links:
            link.sendall(b"a")
        time.sleep(0.1)  # how slow clients write
    _all_cut(links, {408}, began + HEADER_S + ROOM_S)


def f45_slow_bodies(met: Met) -> None:
    links = [dial(met.hub.port, source=ELSEWHERE) for _ in range(40)]
    began = time.monotonic()
    for number, link in enumerate(links):
        key = met.hub.key if number % 2 else "guessed-key-of-nobody"
        link.sendall(
            request("POST /mcp HTTP/1.1", b"{", modern_headers(key), extra="Content-Length: 400\r\n", length=False)
        )
    _all_cut(links, {401, 408, 429}, began + BODY_S + ROOM_S)


def f45_slow_reading(met: Met) -> None:
    """Results of megabytes that nobody reads: the rest of them is gone once the limit is over."""
    links = []
    for number in range(4):
        link = dial(met.hub.port, window=4096, source=ELSEWHERE)
        body = json.dumps(modern_call(do="huge", bytes=HUGE, id_=number)).encode()
        link.sendall(request("POST /mcp HTTP/1.1", body, modern_headers(met.hub.key)))
        links.append(link)
    time.sleep(WRITE_S + ROOM_S)  # what slow readers do
    for link in links:
        assert len(_everything(link, time.monotonic() + ROOM_S)) < HUGE


HUGE = 12_000_000
"""More than the kernel takes off the hub's hands."""


def _all_cut(links: list[socket.socket], statuses: set[int], by: float) -> None:
    for link in links:
        text = _everything(link, by)
        assert not text or Heard(text, True, 0).status in statuses, text


def _everything(link: socket.socket, by: float) -> bytes:
    """What comes until the hub closes the connection. Raises `TimeoutError` when it is still open at `by`."""
    text = b""
    with link:
        while True:
            link.settimeout(max(0.1, by - time.monotonic()))
            try:
                piece = link.recv(262_144)
            except ConnectionResetError:
                return text
            if not piece:
                return text
            text += piece


def f46_too_large(met: Met) -> None:
    port, head = met.hub.port, modern_headers(met.hub.key)
    declared = say(port, request("POST /mcp HTTP/1.1", b"", head, extra="Content-Length: 4194305\r\n", length=False))
    assert declared.status == 413
    assert declared.took < ROOM_S
    chunked = request("POST /mcp HTTP/1.1", b"", head, extra="Transfer-Encoding: chunked\r\n", length=False)
    assert say(port, chunked, *[b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * 80).status == 413
    assert say(
        port, request("POST /mcp HTTP/1.1", b"{}", head, extra="Content-Length: 9\r\n", length=False)
    ).status in (0, 408)
    longer = say(
        port, request("POST /mcp HTTP/1.1", b'{"a":1}garbage', head, extra="Content-Length: 7\r\n", length=False)
    )
    assert 200 not in longer.statuses


BOMBS = {
    "depth": b"[" * 100_000,
    "wide and deep": b"[" + b",".join([b"[" * 60 + b"]" * 60] * 5_000) + b"]",
    "duplicates": b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
    "NaN": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}',
    "infinity": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1e999}}',
    "huge integer": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"9" * 100_000 + b"}}",
    "byte order mark": b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}',
    "UTF-16": '{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"),
    "half a character": b'{"jsonrpc":"2.0","id":"\\ud83d","method":"ping"}',
    "many keys": b"{" + b",".join(b'"%d":1' % number for number in range(200_000)) + b"}",
}


def f47_bombs(met: Met) -> None:
    for name, bomb in BOMBS.items():
        heard = post(met, bomb)
        assert heard.status == 400, name
        assert heard.json["error"]["code"] in (-32700, -32600), name
        assert heard.took < ROOM_S, name


def f48_disagreement(met: Met) -> None:
    """The headers name what is allowed, the body what is not: neither is called, nor does policy ask the header."""
    body = json.dumps(modern_call(do="echo", text="f48", nonce="f48")).encode()
    for name, value in (
        ("Mcp-Name", "evil__other"),
        ("Mcp-Method", "tools/list"),
        ("MCP-Protocol-Version", "2025-11-25"),
    ):
        heard = post(met, body, **{name: value})
        assert heard.status == 400, name
        assert heard.json["error"]["code"] == -32020, name
    twice = request("POST /mcp HTTP/1.1", body, modern_headers(met.hub.key), extra="Mcp-Name: evil__other\r\n")
    assert say(met.hub.port, twice).status == 400
    assert met.truth.arrived()["f48"] == 0


def f49_foreign_names(met: Met) -> None:
    body = json.dumps(modern_call(do="echo", text="f49", nonce="f49")).encode()
    head = modern_headers(met.hub.key)
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "evil.example:80", ""):
        heard = say(met.hub.port, request("POST /mcp HTTP/1.1", body, head, host=host))
        assert heard.status == 421, host
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "file://"):
        assert post(met, body, Origin=origin).status == 403, origin
    assert met.truth.arrived()["f49"] == 0


HOSTILE: dict[str, Callable[[Met], None]] = {
    "F45-headers": f45_slow_headers,
    "F45-bodies": f45_slow_bodies,
    "F45-reading": f45_slow_reading,
    "F46": f46_too_large,
    "F47": f47_bombs,
    "F48": f48_disagreement,
    "F49": f49_foreign_names,
}


@pytest.mark.slow
@pytest.mark.parametrize("row", HOSTILE)
async def test_hostile_client_is_refused_and_harms_nobody(met: Met, row: str) -> None:
    baseline = await at_rest(met)
    async with Honest(met.hub.mcp_url, met.hub.key) as honest:
        await honest.answered(4)
        await asyncio.to_thread(HOSTILE[row], met)
        await honest.answered(4)
    assert not honest.failures
    await asyncio.to_thread(baseline.expect_return)


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="needs slowhttptest")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_f45_slowhttptest_keeps_no_honest_client_from_its_answers(met: Met, attack: Attack) -> None:
    """A short version; the soak measures how long honest clients wait."""
    baseline = await at_rest(met)
    async with Honest(met.hub.mcp_url, met.hub.key) as honest, attacked(met.hub, attack, 200, 10):
        await honest.answered(100)
    assert not honest.failures
    await asyncio.to_thread(baseline.expect_return)


# --- F41 to F44: many, again, and gone ------------------------------------------------------------------


async def test_f41_everybody_gets_the_answer_to_their_own_call(met: Met) -> None:
    """Two keys, both eras, fifty calls at once under the id 1."""
    found = await echoed(met.hub.mcp_url, [met.hub.key, met.second], clients=25, answers=500)
    assert not found.crossed


@pytest.mark.parametrize("era", ERAS)
async def test_f42_a_request_that_is_repeated_is_a_new_call_and_on_record(met: Met, era: Era) -> None:
    nonce = uuid.uuid4().hex
    async with raw_client(met.hub.mcp_url, met.hub.key, era) as client:
        answers = [await client.call("evil__act", id=7, do="echo", text="again", nonce=nonce) for _ in range(2)]
    assert answers[0] == answers[1]
    assert met.truth.ran()[nonce] == 2
    intents = [row for row in record(met.hub) if row["kind"] == "intent" and nonce in str(bytes(row["body"] or b""))]
    assert len({row["call_id"] for row in intents}) == 2


async def _begun(met: Met, call: Awaitable[Any]) -> "asyncio.Task[Any]":
    """A call that hangs, once it has reached the upstream."""
    before = len(met.truth.seen("hang"))
    task = asyncio.ensure_future(call)
    await asyncio.to_thread(until, "the call at the upstream", lambda: len(met.truth.seen("hang")) > before)
    return task


async def test_f43_a_handshake_client_that_cancels_is_obeyed_within_a_second(met: Met) -> None:
    async with raw_client(met.hub.mcp_url, met.hub.key, "handshake") as client:
        task = await _begun(
            met, client.send("tools/call", {"name": "evil__act", "arguments": {"do": "hang"}}, id="c")
        )
        ends = _ends(met)
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c"}}
        await client.post(note)
        await asyncio.to_thread(until, "the end at the upstream", lambda: _ends(met) > ends, 1 + ROOM_S)
        assert (await task).json()["error"]["code"] == -32800


async def test_f43_a_modern_client_that_leaves_has_cancelled_and_the_outcome_is_unknown(met: Met) -> None:
    body, nonce = modern_call(do="hang"), uuid.uuid4().hex
    body["params"]["arguments"]["nonce"] = nonce
    with dial(met.hub.port) as link:
        link.sendall(request("POST /mcp HTTP/1.1", json.dumps(body).encode(), modern_headers(met.hub.key)))
        await asyncio.to_thread(until, "the call at the upstream", lambda: met.truth.arrived()[nonce])
        ends = _ends(met)
    await asyncio.to_thread(until, "the end at the upstream", lambda: _ends(met) > ends, 1 + ROOM_S)

    def ended() -> bool:
        rows = record(met.hub)
        calls = {row["call_id"] for row in rows if nonce in str(bytes(row["body"] or b""))}
        return any(row["call_id"] in calls and row["outcome"] == "unknown" for row in rows)

    await asyncio.to_thread(until, "the outcome on record", ended)


async def test_f43_a_handshake_client_that_leaves_has_not_cancelled(met: Met) -> None:
    nonce = uuid.uuid4().hex
    async with raw_client(met.hub.mcp_url, met.hub.key, "handshake") as client:
        task = asyncio.ensure_future(client.call("evil__act", do="echo", text="late", pause=0.7, nonce=nonce))
        await asyncio.to_thread(until, "the call at the upstream", lambda: met.truth.arrived()[nonce])
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def completed() -> bool:
        rows = record(met.hub)
        calls = {row["call_id"] for row in rows if nonce in str(bytes(row["body"] or b""))}
        return any(row["call_id"] in calls and row["outcome"] == "completed" for row in rows)

    await asyncio.to_thread(until, "its completion on record", completed)


def _ends(met: Met) -> int:
    """How many exchanges the upstream saw ended or cancelled from the hub's side."""
    return met.truth.times('"left"') + met.truth.times("notifications/cancelled")


# --- F37 to F39, F52: what changes or is hidden ---------------------------------------------------------


@pytest.mark.parametrize("stream", ["handshake GET", "modern listen", "HTTP+SSE", "WebSocket"])
async def test_f37_a_revoked_key_loses_its_open_stream_within_five_seconds(met: Met, stream: str) -> None:
    name = f"f37-{uuid.uuid4().hex[:8]}"
    key = await asyncio.to_thread(met.key, name)
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        async with _open(met, http, key, stream) as over:
            await asyncio.to_thread(met.hub.manage, "revoke_key", name, "--org", "default")
            began = time.monotonic()
            async with asyncio.timeout(5 + ROOM_S):
                await over()
            assert time.monotonic() - began < 5 + ROOM_S
        refused = await http.post(met.hub.mcp_url, json=modern_call(do="echo"), headers=modern_headers(key))
    assert refused.status_code == 401


@contextlib.asynccontextmanager
async def _open(met: Met, http: httpx.AsyncClient, key: str, stream: str):  # type: ignore[no-untyped-def]  # an iterator of the wait for its end
    if stream == "WebSocket":
        url = met.hub.mcp_url.replace("http:", "ws:")
        async with connect(url, additional_headers={"Authorization": f"Bearer {key}"}, proxy=None) as link:
            yield link.wait_closed
        return
    async with _request(met, http, key, stream) as response:
        assert response.status_code == 200

        async def over() -> None:
            async for _ in response.aiter_raw():
                pass

        yield over


@contextlib.asynccontextmanager
async def _request(met: Met, http: httpx.AsyncClient, key: str, stream: str):  # type: ignore[no-untyped-def]  # an iterator of httpx.Response
    if stream == "modern listen":
        body = modern_call()
        body["method"], body["params"] = (
            "subscriptions/listen",
            {"_meta": body["params"]["_meta"], "notifications": {}},
        )
        head = headers_of(key, MCP_Protocol_Version=MODERN, Mcp_Method="subscriptions/listen")
        async with http.stream("POST", met.hub.mcp_url, json=body, headers=head) as response:
            yield response
    elif stream == "HTTP+SSE":
        async with http.stream("GET", f"{met.hub.url}/sse", headers=headers_of(key)) as response:
            yield response
    else:
        client = RawClient(http, met.hub.mcp_url, key, "handshake")
        await client.connect()
        head = headers_of(key, **client.session) | {"Accept": "text/event-stream"}
        async with http.stream("GET", met.hub.mcp_url, headers=head) as response:
            yield response


async def test_f37_a_call_under_way_ends_and_the_next_one_is_refused(met: Met) -> None:
    name = f"f37-{uuid.uuid4().hex[:8]}"
    key = await asyncio.to_thread(met.key, name)
    nonce = uuid.uuid4().hex
    async with raw_client(met.hub.mcp_url, key, "modern") as client:
        task = asyncio.ensure_future(client.call("evil__act", do="echo", text="mine", pause=4, nonce=nonce))
        await asyncio.to_thread(until, "the call at the upstream", lambda: met.truth.arrived()[nonce])
        await asyncio.to_thread(met.hub.manage, "revoke_key", name, "--org", "default")
        assert (await task)["content"][0]["text"] == "mine"
        response = await client.send("tools/call", {"name": "evil__act", "arguments": {"do": "echo"}})
        assert response.status_code == 401


DENY = (
    "from mcphub.accounts.models import Org; from policies.models import Rule; "
    "Rule.objects.create(org=Org.objects.get(slug='default'), name='f38', priority=1, effect='deny', "
    "kinds=['tool'], upstreams=['evil'], tools=['*'], reason='f38')"
)
ALLOW_AGAIN = "from policies.models import Rule; Rule.objects.filter(name='f38').delete()"


@pytest.mark.parametrize("era", ERAS)
async def test_f38_an_edited_policy_holds_for_the_next_call_of_an_open_session(met: Met, era: Era) -> None:
    async with raw_client(met.hub.mcp_url, met.hub.key, era) as client:
        assert "evil__act" in await client.names()
        await asyncio.to_thread(met.shell, DENY)
        try:
            await _eventually(lambda: _is_unknown(client), 1 + ROOM_S)
            assert "evil__act" not in await client.names()
        finally:
            await asyncio.to_thread(met.shell, ALLOW_AGAIN)
        await _eventually(lambda: _is_answered(client), 1 + ROOM_S)


async def _is_answered(client: RawClient) -> bool:
    return not await _is_unknown(client)


async def _is_unknown(client: RawClient) -> bool:
    try:
        await client.call("evil__act", do="echo", text="x")
    except RpcFailed as failed:
        return bool(failed.error["code"] == -32602)
    return False


async def _eventually(check: Callable[[], Awaitable[bool]], within: float) -> None:
    async with asyncio.timeout(within):
        while not await check():
            await asyncio.sleep(0.02)


COPY = (
    "from upstreams.models import Upstream; row = Upstream.objects.get(slug='evil'); "
    "Upstream.objects.create(org=row.org, slug='doomed', name='doomed', transport=row.transport, url=row.url, "
    "egress_allow=row.egress_allow)"
)
DELETE = "from upstreams.models import Upstream; Upstream.objects.get(slug='doomed').delete()"


async def test_f39_a_call_on_a_deleted_upstream_ends_and_then_the_tool_is_unknown(met: Met) -> None:
    await asyncio.to_thread(met.shell, COPY)
    await asyncio.to_thread(met.hub.until_listed, "doomed")
    nonce = uuid.uuid4().hex
    async with raw_client(met.hub.mcp_url, met.hub.key, "modern") as client:
        task = asyncio.ensure_future(client.call("doomed__act", do="echo", text="last", pause=4, nonce=nonce))
        await asyncio.to_thread(until, "the call at the upstream", lambda: met.truth.arrived()[nonce])
        await asyncio.to_thread(met.shell, DELETE)
        ended = await task
        assert ended["content"][0]["text"] == "last" or ended["_meta"]["mcphub/error"]["outcome"] == "unknown"
        with pytest.raises(RpcFailed) as unknown:
            await client.call("doomed__act", do="echo")
    assert unknown.value.error["code"] == -32602


@pytest.mark.parametrize("era", ERAS)
async def test_f52_a_hidden_tool_answers_byte_for_byte_as_an_absent_one(met: Met, era: Era) -> None:
    key = await asyncio.to_thread(met.key, f"f52-{uuid.uuid4().hex[:8]}", "member")
    strange: list[dict[str, Any]] = [
        {"arguments": {"do": "echo"}},
        {"arguments": 5},
        {"arguments": {"do": "a", "DO": "b"}},
        {"Name": "x"},
        {"inputResponses": 5},
        {"requestState": "forged"},
    ]
    async with raw_client(met.hub.mcp_url, key, era) as client:
        for more in strange:
            hidden, absent = [
                (await client.send("tools/call", {"name": name, **more}, id=1)) for name in ("evil__act", "evil__abc")
            ]
            assert hidden.status_code == absent.status_code
            assert hidden.content == absent.content.replace(b"evil__abc", b"evil__act")
            assert [name for name in hidden.headers if name != "date"] == [
                name for name in absent.headers if name != "date"
            ]


# --- F44: many that do nothing --------------------------------------------------------------------------


async def test_f44_idle_sessions_are_light_and_go_away(met: Met) -> None:
    """A short version; ten thousand are met in the soak."""
    found = await idled(met.hub, sessions=300, streams=100, seconds=1)
    assert not found.faults
    assert found.honest_calls > 0
