"""Results between eras: only the one level that must change, changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.relay import NotAnObject, for_client, result_type, to_handshake, to_modern

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name not in {"resultType", "ttlMs", "cacheScope"}), JSON, max_size=5
)


@given(MEMBERS)
def test_modern_result_reaches_a_handshake_client_without_loss(members: dict[str, object]) -> None:
    raw = json.dumps({"resultType": "complete", **members, "ttlMs": 1, "cacheScope": "public"}).encode()
    expected = dict(members)
    if expected.get("structuredContent") is not None and not isinstance(expected["structuredContent"], dict):
        expected["structuredContent"] = {"result": expected["structuredContent"]}
    assert json.loads(to_handshake(raw)) == expected


@given(MEMBERS)
def test_handshake_result_reaches_a_modern_client_without_loss(members: dict[str, object]) -> None:
    raw = json.dumps(members, indent=1).encode()
    assert json.loads(to_modern(raw)) == {**members, "resultType": "complete"}


def test_same_era_is_the_same_bytes() -> None:
    raw = b'{ "content" : [] , "big": 1e999 }'
    assert for_client(raw, upstream="modern", client="modern") is raw
    assert for_client(raw, upstream="handshake", client="handshake") is raw


def test_what_policy_lets_through_is_for_no_shared_cache() -> None:
    raw = b'{"contents":[{"uri":"a","text":"public"}],"ttlMs":5,"cacheScope":"public"}'
    told = json.loads(for_client(raw, upstream="modern", client="modern", cacheable=True))
    assert told == {"contents": [{"uri": "a", "text": "public"}], "ttlMs": 5, "cacheScope": "private"}
    private = raw.replace(b'"cacheScope":"public"', b'"cacheScope" : "private"')
    assert (
        json.loads(for_client(private, upstream="modern", client="modern", cacheable=True))["cacheScope"] == "private"
    )


def test_modern_stamp_of_the_upstream_is_not_for_handshake_clients() -> None:
    raw = b'{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x"},"keep":null}}'
    assert json.loads(to_handshake(raw)) == {"_meta": {"keep": None}}


def test_caching_hints_are_added_where_the_modern_era_requires_them() -> None:
    assert json.loads(to_modern(b'{"contents":[]}', cacheable=True)) == {
        "contents": [],
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
    }


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"x"', b"{", b""])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(NotAnObject):
        to_modern(raw)
    with pytest.raises(NotAnObject):
        to_handshake(raw)


def test_result_type_of_older_servers_is_complete() -> None:
    assert result_type(b'{"content":[]}') == "complete"
    assert result_type(b'{"resultType":"input_required"}') == "input_required"
    assert result_type(b'{"content":[{"text":"\\"resultType\\""}]}') == "complete"
