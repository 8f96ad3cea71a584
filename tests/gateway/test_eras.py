"""The pure rules of both eras, compared with the official SDK's."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request, encode_header_value
from mcp_types.methods import CLIENT_REQUESTS
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from gateway.eras.handshake import negotiate
from gateway.eras.jsonrpc import (
    error_text,
    id_text,
    kind_of,
    notification_text,
    request_text,
    result_text,
    same_id,
)
from gateway.eras.meta import take_asides
from gateway.eras.methods import NAMED_BY, ONLY_IN
from gateway.eras.modern import CAPABILITIES_KEY, INFO_KEY, VERSION_KEY, is_modern, open_envelope
from gateway.errors import Refused
from upstreams.errors import RpcError
from upstreams.types import HANDSHAKE_REVISIONS, MODERN

VERSIONS = st.sampled_from([MODERN, "2025-06-18", "2099-01-01", "", None, 7])
METHODS = st.sampled_from(["tools/call", "prompts/get", "resources/read", "tools/list", "server/discover"])
NAMES = st.sampled_from(["echo", "ä", " edge ", "=?base64?eA==?=", ""])


@st.composite
def requests(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, str]]:
    """A request and headers that mostly, but not always, agree."""
    method = draw(METHODS)
    name = draw(NAMES)
    meta: dict[str, Any] = {VERSION_KEY: draw(VERSIONS), CAPABILITIES_KEY: {}, INFO_KEY: {"name": "x"}}
    for key in draw(st.sets(st.sampled_from(sorted(meta)), max_size=1)):
        del meta[key]
    params: dict[str, Any] = {"_meta": draw(st.sampled_from([meta, meta, meta, None, []]))}
    if named_by := {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}.get(method):
        params[named_by] = name
    headers = {"mcp-method": draw(st.sampled_from([method, method, method, "tools/list"]))}
    if isinstance(version := draw(st.sampled_from([meta.get(VERSION_KEY), MODERN])), str):
        headers["mcp-protocol-version"] = version
    if (sent := draw(st.sampled_from([encode_header_value(name)] * 3 + ["other", None]))) is not None:
        headers["mcp-name"] = sent
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers


@given(requests())
def test_the_envelope_is_judged_as_the_sdk_judges_it(drawn: tuple[dict[str, Any], dict[str, str]]) -> None:
    message, headers = drawn
    expected = classify_inbound_request(copy.deepcopy(message), headers=headers)
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    if isinstance(expected, InboundLadderRejection):
        with pytest.raises(Refused) as refusal:
            open_envelope(message, raw, 0)
        assert (refusal.value.status, refusal.value.error.code) == (400, expected.code)
    else:
        assert open_envelope(message, raw, 0).client.info == (expected.client_info or {})
        assert "_meta" not in message["params"]


def test_revisions_are_the_sdk_s() -> None:
    assert HANDSHAKE_REVISIONS == HANDSHAKE_PROTOCOL_VERSIONS
    assert (MODERN,) == MODERN_PROTOCOL_VERSIONS


def test_methods_of_one_era_are_the_sdk_s() -> None:
    modern = {method for method, version in CLIENT_REQUESTS if version == MODERN}
    handshake = {method for method, version in CLIENT_REQUESTS if version != MODERN}
    tasks = {"tasks/get", "tasks/update", "tasks/cancel"}  # of an extension, which the SDK's core table leaves out
    assert {method for method, era in ONLY_IN.items() if era == "modern"} == (modern - handshake) | tasks
    assert {method for method, era in ONLY_IN.items() if era == "handshake"} == handshake - modern
    assert set(NAMED_BY) <= modern


ENVELOPE = {"params": {"_meta": {VERSION_KEY: MODERN}}}


@pytest.mark.parametrize(
    ("header", "body", "modern"),
    [
        (b"2026-07-28", {}, True),
        (b"2026-07-28", [], True),
        (b"2025-06-18", {}, False),
        (b"2025-06-18", ENVELOPE, True),
        (b"2025-06-18", {"params": {"_meta": {VERSION_KEY: "2025-06-18"}}}, False),
        (None, {}, False),
        (None, ENVELOPE, True),
        (None, {"params": []}, False),
        (None, {"params": {"_meta": 3}}, False),
        (None, [ENVELOPE], False),
        (b"nonsense", {}, True),
    ],
)
def test_which_era_a_post_belongs_to(header: bytes | None, body: Any, modern: bool) -> None:
    assert is_modern(header, body) is modern


def test_negotiation_keeps_what_it_can() -> None:
    assert [negotiate(revision) for revision in HANDSHAKE_REVISIONS] == list(HANDSHAKE_REVISIONS)
    assert negotiate("2030-01-01") == negotiate(MODERN) == "2025-11-25"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
IDS = st.integers() | st.text()


@given(IDS, JSON, st.dictionaries(st.text(), JSON, max_size=3))
def test_texts_read_back_as_they_were(id_: Any, result: Any, params: dict[str, Any]) -> None:
    raw = json.dumps(result).encode()
    read = json.loads(result_text(id_text(id_), raw))
    assert read == {"jsonrpc": "2.0", "id": id_, "result": result}
    assert same_id(read["id"], id_)
    assert json.loads(notification_text("m", params)) == {"jsonrpc": "2.0", "method": "m", "params": params}
    assert json.loads(request_text("q", "m", params))["id"] == "q"
    error = json.loads(error_text(id_text(None), RpcError(-1, "m", result)))
    assert error["error"].get("data") == result
    assert error["id"] is None


def judged(message: Any) -> Any:
    try:
        return kind_of(message)
    except Refused as refusal:
        return refusal.status, refusal.error.code


@given(JSON)
def test_no_json_value_breaks_the_classification(value: Any) -> None:
    for message in (value, {"jsonrpc": "2.0", "method": value}, {"jsonrpc": "2.0", "id": value, "result": {}}):
        assert judged(message) in ("request", "notification", "response", (400, -32600))


@given(st.dictionaries(st.sampled_from(["progressToken", "traceparent", "tracestate", "x"]), JSON, max_size=4))
def test_asides_leave_everything_else_alone(meta: dict[str, Any]) -> None:
    kept = {key: value for key, value in meta.items() if key == "x"}
    params = {"a": 1, "_meta": dict(meta)}
    try:
        token, trace = take_asides(params, {})
    except Refused:
        assert not isinstance(meta["progressToken"], str | int) or isinstance(meta["progressToken"], bool)
        return
    assert token == meta.get("progressToken")
    assert set(trace) <= {"traceparent", "tracestate"}
    left = params.get("_meta", {})
    assert isinstance(left, dict)
    assert left.get("x") == kept.get("x")


def test_seven_and_seven_are_two_ids() -> None:
    assert not same_id(7, "7")
    assert not same_id(1, True)
    assert same_id("a", "a")
