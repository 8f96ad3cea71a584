"""Guessing keys: 401 at first, then 429; a good key passes whatever its source did."""

from pathlib import Path

import httpx
import pytest

from gateway.guesses import Guesses
from mcphub.core.limits import Limits
from tests.harness.hub import Hub
from tests.harness.raw import ask

LIMITS = Limits(key_attempts=3, key_window_s=60)


def test_a_source_is_told_to_wait_after_too_many() -> None:
    guesses = Guesses(LIMITS)
    assert [guesses.failed("a") for _ in range(3)] == [0, 0, 0]
    assert 0 < guesses.failed("a") <= 61
    assert guesses.failed("b") == 0


def test_a_household_with_many_addresses_is_one_source() -> None:
    guesses = Guesses(LIMITS)
    answers = [guesses.failed(f"2001:db8:1:2::{number:x}") for number in range(4)]
    assert [wait > 0 for wait in answers] == [False, False, False, True]
    assert guesses.failed("2001:db8:1:3::1") == 0


def test_a_new_window_begins_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("mcphub.core.clock.monotonic", lambda: now)
    guesses = Guesses(LIMITS)
    assert [guesses.failed("a") > 0 for _ in range(5)] == [False, False, False, True, True]
    now += 61
    assert guesses.failed("a") == 0


def test_f50_guessing_keys_is_answered_401_then_429_and_a_good_key_passes(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub", limits="key_attempts=3") as hub:
        hub.up()
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

        def guess(number: int) -> httpx.Response:
            return httpx.post(hub.mcp_url, json=body, headers={"X-API-Key": f"guess-{number}"}, trust_env=False)

        answers = [guess(number) for number in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 61
        assert ask(hub.mcp_url, hub.key, "tools/list", {})["tools"] == []
