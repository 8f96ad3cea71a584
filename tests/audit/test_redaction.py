"""What redaction takes out, and what it leaves."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.redaction import MARK, SECRET_SHAPES, SHORTEST_SHAPE, Redactor, kept

pytestmark = pytest.mark.requirement("A3")

SECRETS = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbmF0dXJl",
    "Bearer abcdefghijklmnop",
    "basic dXNlcjpwYXNzd29yZA==",
    "sk-proj-abcdefghijklmnop1234",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0abcdefghijkl",
    "xoxb-123456789012-abcdefghijkl",
    "mcph_abcdefgh_ijklmnopqrstuvwxyz",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "see {} there", '{{"inner": "{}"}}'])
def test_value_that_looks_like_a_secret_goes_at_any_depth(secret: str, around: str) -> None:
    redacted = json.dumps(Redactor().redact({"a": [{"note": around.format(secret)}]}))
    assert secret not in json.loads(redacted)["a"][0]["note"]
    assert MARK in redacted


@pytest.mark.parametrize(
    "key",
    [
        "password", "dbPassword", "DB_PASSWORD", "client-secret", "accessToken", "api_key", "X-Api-Key", "apiKeys",
        "Authorization", "set-cookie", "private_key", "pin", "auth", "authToken", "credentials", "sessionId", "jwt",
    ],
)  # fmt: skip
def test_value_under_a_telling_key_goes_whatever_it_is(key: str) -> None:
    for value in ("short", 1234, ["a"], {"b": "c"}):
        assert Redactor().redact([{key: value}]) == [{key: MARK}]


@pytest.mark.parametrize(
    "value",
    [
        {"city": "Oslo", "count": 3, "ok": True, "nothing": None, "nested": {"list": [1, "two"]}},
        {"max_tokens": 4096, "tokenCount": 7},
        {"author": "Anna", "spinning": "yes", "monkey": "Bo", "keyboard": "azerty"},
        {"when": "2026-11-21T09:00:00+00:00", "id": "01900000-0000-7000-8000-000000000000"},
        {"url": "https://example.org/path?page=2&sort=name", "mail": "anna@example.org"},
        {"password": None},
    ],
)
def test_ordinary_values_stay(value: Any) -> None:
    assert Redactor().redact(value) == value


def test_secrets_in_urls_go_and_the_rest_stays() -> None:
    text = Redactor().text("postgresql://hub:hunter2@db.example.org/x and https://h.example/?api_key=abcdef&page=2")
    assert text == f"postgresql://{MARK}@db.example.org/x and https://h.example/?{MARK}&page=2"


def test_own_keys_and_patterns_are_added() -> None:
    redactor = Redactor(keys=["Kundennummer"], patterns=[r"\bP-\d+\b"])
    assert redactor.redact({"kunden_nummer": "7", "note": "see P-12"}) == {
        "kunden_nummer": MARK,
        "note": f"see {MARK}",
    }


def test_bad_pattern_is_named() -> None:
    with pytest.raises(ValueError, match="look"):
        Redactor(patterns=["(?=look)"])


def test_deep_payload_is_cut_and_not_followed() -> None:
    deep: Any = "end"
    for _ in range(200):
        deep = [deep]
    assert "too deep" in json.dumps(Redactor().redact(deep))


def test_long_payload_is_redacted_before_it_is_cut() -> None:
    body = json.dumps({"password": "hunter2", "text": "é" * 20_000}).encode()
    stored = json.loads(kept(body, Redactor(), 4_096))
    assert stored["truncated"]
    assert stored["bytes"] > 4_096
    assert "hunter2" not in stored["start"]
    assert len(json.dumps(stored, ensure_ascii=False).encode()) < 5_000


def test_huge_payload_is_not_even_parsed() -> None:
    assert json.loads(kept(b"[" * 1_000_000, Redactor(), 4_096)) == {
        "truncated": True,
        "bytes": 1_000_000,
        "start": "",
    }


def test_what_is_no_json_is_kept_as_redacted_text() -> None:
    assert json.loads(kept(b"token Bearer abcdefghijklmnop \xff", Redactor(), 4_096)) == f"token {MARK} \ufffd"


SCRAPS = [
    *SECRETS, "mcph", "sk", "ghr", "github", "_pat", "glpat", "npm", "hf", "e2b", "pypi", "xoxs", "shpat", "dop_v1",
    "_", "-", "baſic", "BEARER", "\t", " ", "ya29.", "ASIA", "A" * 16, "://u:p@h", "?key=v", "&sig=v", "x" * 12,
]  # fmt: skip


@given(st.lists(st.sampled_from(SCRAPS)))
def test_no_text_with_a_secret_is_taken_for_harmless(parts: list[str]) -> None:
    text = "".join(parts)
    if len(text) >= SHORTEST_SHAPE and SECRET_SHAPES.search(text):
        assert Redactor().text(text) != text
