"""What a client may be asked, and what an `input_required` result must look like."""

from typing import Any

import pytest

from gateway.rounds import needs_of, pages_of, refusal, with_round

FORM: dict[str, Any] = {"message": "?", "requestedSchema": {}}
PAGE: dict[str, Any] = {"mode": "url", "url": "https://example.test"}


@pytest.mark.parametrize(
    ("method", "params", "capabilities"),
    [
        ("elicitation/create", FORM, {"elicitation": {}}),
        ("elicitation/create", FORM, {"elicitation": {"form": {}}}),
        ("elicitation/create", PAGE, {"elicitation": {"form": {}, "url": {}}}),
        ("sampling/createMessage", {}, {"sampling": {}}),
        ("sampling/createMessage", {"tools": []}, {"sampling": {"tools": {}}}),
        ("roots/list", {}, {"roots": {"listChanged": True}}),
    ],
)
def test_what_was_declared_may_be_asked(method: str, params: Any, capabilities: Any):
    assert refusal(method, params, capabilities) is None


@pytest.mark.parametrize(
    ("method", "params", "capabilities", "code"),
    [
        ("elicitation/create", FORM, {}, -32601),
        ("elicitation/create", FORM, {"elicitation": {"url": {}}}, -32602),
        ("elicitation/create", PAGE, {"elicitation": {}}, -32602),
        ("elicitation/create", PAGE, {"elicitation": {"url": None}}, -32602),
        ("elicitation/create", FORM, {"elicitation": None}, -32602),
        ("sampling/createMessage", {"toolChoice": {}}, {"sampling": {}}, -32602),
        ("roots/list", {}, {"sampling": {}}, -32601),
        ("tools/list", {}, {"tools": {}}, -32601),
    ],
)
def test_what_was_not_declared_is_refused(method: str, params: Any, capabilities: Any, code: int):
    refused = refusal(method, params, capabilities)
    assert refused is not None
    assert refused.code == code


@pytest.mark.parametrize(
    "raw",
    [
        b'{"resultType":"input_required"}',
        b'{"resultType":"input_required","inputRequests":{}}',
        b'{"resultType":"input_required","inputRequests":[1],"requestState":"x"}',
        b'{"resultType":"input_required","requestState":7}',
        b'{"resultType":"input_required","inputRequests":{"a":{"method":"tools/call"}}}',
        b'{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list","params":[]}}}',
        b'{"resultType":"input_required","inputRequests":{"a":{"method":["roots/list"]}}}',
    ],
)
def test_malformed_needs_are_none(raw: bytes):
    assert needs_of(raw) is None


def test_the_servers_state_stays_as_it_is():
    found = needs_of(b'{"resultType":"input_required","requestState":"\\ud83d \\u0000 \xc3\xa9"}')
    assert found is not None
    assert found.state == "\ud83d \x00 é"
    assert with_round({"name": "x", "requestState": "ours"}, {}, found.state)["requestState"] == "\ud83d \x00 é"


@pytest.mark.parametrize("data", [None, [], {}, {"elicitations": 7}, {"elicitations": [1, None]}])
def test_pages_without_pages(data: Any):
    assert pages_of(data) == {}
