"""Whatever strangers send: no crash, no 5xx, no hang, nothing left behind."""

import asyncio
import base64
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.baseline import Baseline, WatchedHub
from tests.faults.conftest import evil_upstream
from tests.harness.raw import ACCEPT, HANDSHAKE, MODERN, RawClient
from tests.harness.wire import request, say
from tests.soak.fuzzing import SEEDS, TARGETS, fuzzed, is_installed
from upstreams.errors import TooLarge
from upstreams.transports.events import EventReader

SECONDS = 4
EXAMPLES = 150
PREFIX = "io.modelcontextprotocol"


@pytest.mark.parametrize("target", TARGETS)
def test_the_readers_take_their_seeds(target: str) -> None:
    for seed in SEEDS[target]:
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_readers_take_any_bytes(target: str, data: st.DataObject) -> None:
    part = st.sampled_from(
        [b"\r", b"\n", b"\r\n\r\n", b"data:", b"id: 1", b"0\r\n", b"[", b"{", b'"', b"\\u", b"\xff"]
    )
    parts = data.draw(st.lists(part | st.sampled_from(SEEDS[target]) | st.binary(max_size=8), max_size=12))
    TARGETS[target](b"".join(parts))


@pytest.mark.skipif(not is_installed(), reason="needs Atheris (uv sync --group fuzz)")
@pytest.mark.parametrize("target", TARGETS)
async def test_atheris_finds_nothing_in_seconds(target: str, tmp_path: Path) -> None:
    found = await fuzzed(tmp_path, target, SECONDS)
    assert not found.faults, found


def test_an_event_that_ends_with_bare_carriage_returns_is_told_at_once() -> None:
    reader = EventReader(100, 100)
    assert [event.data for piece in (b"data: a\r", b"\r", b"\ndata: b\r\n\r\n") for event in reader.feed(piece)] == [
        b"a",
        b"b",
    ]
    assert [event.data for event in reader.feed(b"data: c\r\r")] == [b"c"]


@pytest.mark.parametrize("step", [1, 7, 200, 1_000])
@pytest.mark.parametrize("line", [b":" + b"x" * 150 + b"\r\n", b"data: " + b"x" * 101 + b"\n", b"x" * 150])
def test_a_line_over_the_limit_is_refused_however_it_was_cut(line: bytes, step: int) -> None:
    reader, stream = EventReader(100, 1_000), b"data: a\n\n" + line
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    with pytest.raises(TooLarge):
        list(chain.from_iterable(map(reader.feed, pieces)))


# --- a real hub -------------------------------------------------------------------------------------------


class Target:
    """A hub, a session of it, and what it has sealed for us."""

    def __init__(self, hub: WatchedHub) -> None:
        self.hub = hub
        self.http = httpx.Client(timeout=20, trust_env=False)
        self.session, self.cursor = asyncio.run(self._known())

    async def _known(self) -> tuple[str, str]:
        async with httpx.AsyncClient(trust_env=False) as http:
            client = RawClient(http, self.hub.mcp_url, self.hub.key, "handshake")
            await client.connect()
            page = await client.request("tools/list", {})
            return client.session["Mcp-Session-Id"], str(page.get("nextCursor", ""))

    def post(self, message: Any, **headers: str) -> httpx.Response:
        """The head of the answer; a stream is left at once."""
        sent = {"Authorization": f"Bearer {self.hub.key}", "Accept": ACCEPT, **headers}
        with self.http.stream("POST", self.hub.mcp_url, json=message, headers=sent) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                response.read()
        return response

    def listen(self, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.hub.key}", "Accept": "text/event-stream", **headers}
        with self.http.stream("GET", self.hub.mcp_url, headers=sent) as response:
            return response


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Two upstreams and pages of one entry, so that there are cursors; at the end nothing is left or has broken."""
    folder = tmp_path_factory.mktemp("fuzz")
    with evil_upstream(folder, "both") as (servers, _):
        both = json.loads(servers.read_text())
        both["mcpServers"]["other"] = both["mcpServers"]["evil"]
        servers.write_text(json.dumps(both))
        with WatchedHub(folder / "hub", key=None, limits="page_size=1,call_s=5") as hub:
            hub.prepare(servers)
            made = Target(hub.serve().until_listed("evil", "other"))
            baseline = Baseline(hub)
            yield made
            made.http.close()
            baseline.expect_return()
            assert "Traceback" not in hub.output
            assert "request_failed" not in hub.output


LATIN = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def forged(draw: st.DrawFn, known: str) -> str:
    """Something like a text that the hub has sealed: cut, lengthened, a character or a bit of it changed."""
    kind = draw(st.sampled_from(["text", "cut", "longer", "character", "bit", "twice"]))
    if kind == "text" or not known:
        return draw(LATIN)
    at = draw(st.integers(0, len(known) - 1))
    if kind == "cut":
        return known[:at]
    if kind == "longer":
        return known + draw(LATIN)
    if kind == "twice":
        return known + known
    if kind == "character":
        return known[:at] + draw(st.sampled_from("AZaz09-_.=")) + known[at + 1 :]
    raw = bytearray(base64.urlsafe_b64decode(known.rpartition(".")[2] + "==="))
    raw[at % len(raw)] ^= 1 << draw(st.integers(0, 7))
    return base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")


def sane(response: httpx.Response) -> None:
    """An answer of the hub, and no fault of its own."""
    assert response.status_code < 500, response.text
    if response.headers.get("content-type") == "application/json":
        assert json.loads(response.content)["jsonrpc"] == "2.0"


often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@often
@given(data=st.data())
def test_f47_forged_sessions_events_and_cursors_open_nothing(target: Target, data: st.DataObject) -> None:
    session, cursor = data.draw(forged(target.session)), data.draw(forged(target.cursor))
    if session != target.session:
        answer = target.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, **{"Mcp-Session-Id": session})
        sane(answer)
        assert answer.status_code in (400, 404)
    own = {"Mcp-Session-Id": target.session, "MCP-Protocol-Version": HANDSHAKE}
    event = f"{session}.{data.draw(st.integers(-5, 10**14))}"
    resumed = target.listen(**own, **{"Last-Event-ID": event})
    assert resumed.status_code in (400, 404)
    listed = target.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": cursor}}, **own)
    sane(listed)
    assert "error" in listed.json() or cursor in ("", target.cursor)


METHODS = [
    "tools/call",
    "tools/list",
    "prompts/get",
    "resources/read",
    "resources/list",
    "completion/complete",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "server/discover",
    "subscriptions/listen",
]
KEYS = [
    "name",
    "uri",
    "arguments",
    "argument",
    "ref",
    "cursor",
    "requestState",
    "inputResponses",
    "taskId",
    "notifications",
]


@st.composite
def params(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters with the names that the hub knows, and anything in them."""
    own = draw(
        st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from(["evil__act", "act", "hub+evil:x"]), max_size=5)
    )
    extra = draw(st.dictionaries(st.sampled_from(["extensions", "elicitation", "sampling"]), JSON, max_size=2))
    meta = {f"{PREFIX}/protocolVersion": MODERN, f"{PREFIX}/clientCapabilities": extra}
    known = st.sampled_from([f"{PREFIX}/clientInfo", f"{PREFIX}/logLevel", "progressToken", "traceparent", "baggage"])
    return {**own, "_meta": {**meta, **draw(st.dictionaries(known, JSON, max_size=2))}}


@often
@given(method=st.sampled_from(METHODS), own=params())
def test_f47_no_parameters_break_a_modern_request(target: Target, method: str, own: dict[str, Any]) -> None:
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    name = own.get({"resources/read": "uri"}.get(method, "name"))
    if isinstance(name, str):
        headers["Mcp-Name"] = f"=?base64?{base64.b64encode(name.encode()).decode()}?="
    sane(target.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": own}, **headers))


@often
@given(
    method=st.sampled_from([*METHODS[:6], "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "x"]),
    own=params(),
)
def test_f47_no_parameters_break_a_request_of_a_session(target: Target, method: str, own: dict[str, Any]) -> None:
    own.pop("_meta")
    headers = {"Mcp-Session-Id": target.session, "MCP-Protocol-Version": HANDSHAKE}
    sane(target.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": own}, **headers))


@settings(max_examples=25, deadline=None)
@given(head=st.lists(st.binary(max_size=40), max_size=6), body=st.binary(max_size=60))
def test_f47_no_bytes_break_the_connection_of_another(target: Target, head: list[bytes], body: bytes) -> None:
    heard = say(
        target.hub.port,
        b"POST /mcp HTTP/1.1\r\n" + b"\r\n".join(head) + b"\r\n\r\n" + body + b"\r\n\r\n\r\n",
        within=0.2,
    )
    assert not heard.text or heard.status < 500
    assert say(target.hub.port, request("GET /live HTTP/1.1", length=False)).status == 200
