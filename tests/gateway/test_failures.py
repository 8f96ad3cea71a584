"""What a client is told when a call does not end well."""

import json
from typing import get_args

import pytest

from gateway.errors import EFFECT, MODERN_HTTP_STATUS, REASONS, Reason
from gateway.failures import (
    ENDING,
    NOT_CONFIRMED,
    NOT_RECORDED,
    NOT_STORED,
    Failure,
    rpc_error,
    tool_result,
    unavailable,
)
from upstreams import errors
from upstreams.errors import Outcome, UpstreamError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UpstreamError)]


def test_every_reason_has_its_row_and_every_outcome_its_words():
    assert set(REASONS) == set(get_args(Reason))
    assert set(EFFECT) == set(get_args(Outcome))
    assert {kind.reason for kind in KINDS} <= set(REASONS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_model_is_told_what_happened_whether_it_ran_what_next_and_the_call(
    kind: type[UpstreamError], outcome: Outcome
):
    failure = Failure.of(kind("It went wrong.", outcome=outcome, retry_after=7))
    told = json.loads(tool_result(failure, "c1"))
    text = told["content"][0]["text"]
    assert text.startswith("It went wrong. Wait 7 s. ")
    assert EFFECT[outcome] in text
    assert text.endswith("Call id: c1")
    assert told["_meta"]["mcphub/error"] == rpc_error(failure, "c1").data["mcphub/error"]
    if outcome == "not_sent":
        assert "Check whether it happened" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_have_run_is_never_called_retryable(kind: type[UpstreamError]):
    assert not kind("It went wrong.", outcome="unknown").retryable
    assert not kind("It went wrong.", outcome="completed").retryable


@pytest.mark.parametrize("failure", [ENDING, NOT_RECORDED, NOT_STORED, NOT_CONFIRMED])
def test_refusal_of_the_hub_itself_has_its_own_code_and_status(failure: Failure):
    error = unavailable(failure).error
    assert MODERN_HTTP_STATUS[error.code] == 503
    assert error.data == {"mcphub/error": {"reason": failure.reason, "retryable": True, "outcome": "not_sent"}}
