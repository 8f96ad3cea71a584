"""Whatever a client sends: an answer below 500, in JSON, and nothing left behind."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edge.app import EdgeApp
from gateway.edge.config import EdgeConfig
from mcphub.core.workers import Workers, new_worker_id
from tests.gateway.conftest import call, modern_headers
from tests.gateway.tiny_core import TinyCore

HEADER_NAMES = [
    b"host",
    b"origin",
    b"accept",
    b"content-type",
    b"content-length",
    b"authorization",
    b"x-api-key",
    b"mcp-protocol-version",
    b"mcp-method",
    b"mcp-name",
    b"mcp-session-id",
    b"traceparent",
    b"x-forwarded-for",
]
TRICKY = [
    b"",
    b"http://[",
    b"[::1",
    b"a:b:c",
    b"localhost:99999999",
    b"Basic =",
    b"=?base64?=?=",
    b"2026-07-28",
    b"*/*;;",
]
VALUES = st.sampled_from(TRICKY) | st.binary(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.sampled_from(["jsonrpc", "id", "method", "params"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A call with some of its parts replaced, or any JSON, or any bytes."""
    message: Any = call("echo")
    for part in draw(st.sets(PARTS, max_size=2)):
        message[part] = draw(JSON)
    meta = message["params"].get("_meta") if isinstance(message["params"], dict) else None
    if isinstance(meta, dict):
        for key in draw(st.sets(st.sampled_from([*sorted(meta), "progressToken", "traceparent"]), max_size=2)):
            meta[key] = draw(JSON)
    return draw(st.sampled_from([json.dumps(message).encode(), json.dumps(draw(JSON)).encode(), draw(st.binary())]))


async def answer(method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes, int]:
    """Status and body of the edge's answer in this process, and how many responses are left under way."""
    edge = EdgeApp(TinyCore(), EdgeConfig(trusted_proxies=("127.0.0.0/8",)), Workers(new_worker_id()))
    sent: list[Any] = []
    incoming = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers, "client": ("127.0.0.1", 1)}
    await edge(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], text, edge.under_way()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["POST", "POST", "POST", "POST", "OPTIONS", "HEAD", "X"]),
    st.sampled_from(["/mcp", "/mcp/", "/mcp/default", "/x/mcp", "/admin/mcp", "//mcp", "/mcp/a/b/c/d"]),
    st.dictionaries(st.sampled_from(HEADER_NAMES), VALUES, max_size=3),
    messages(),
)
def test_f47_nothing_that_a_client_sends_breaks_the_edge(
    method: str, path: str, changes: dict[bytes, bytes], body: bytes
) -> None:
    usual = {name.encode(): value.encode() for name, value in modern_headers(call("echo")).items()}
    headers = {b"host": b"localhost", b"content-type": b"application/json", **usual, **changes}
    status, text, left = asyncio.run(answer(method, path, list(headers.items()), body))
    assert status < 500
    assert left == 0
    if text and not text.startswith((b"event:", b":")):
        assert json.loads(text)["jsonrpc"] == "2.0"
