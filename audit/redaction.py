"""Redaction: what a payload may not keep, judged by key name and by the shape of values, at any depth."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec
import re2

MARK: Final = "[redacted]"
MAX_DEPTH: Final = 64

SECRET_WORDS: Final = (
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "apikey", "accesskey", "privatekey",
    "signingkey", "encryptionkey", "masterkey", "authorization", "authentication", "cookie", "credential", "bearer",
    "sessionid", "sessionkey", "connectionstring", "otp", "cvv", "cvc", "ssn", "creditcard", "cardnumber", "iban",
)  # fmt: skip
SHORT_WORDS: Final = frozenset({"auth", "pin", "jwt", "key", "pass", "sid"})
COUNTED_WORDS: Final = ("tokens", "tokencount", "tokenlimit", "tokenusage")

SECRET_SHAPES: Final = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?i:\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"
    r"|\b(?:mcph|sk|pk|rk|ghp|gho|ghu|ghs|ghr|github_pat|glpat|npm|hf|e2b|pypi|xox[abposr]|shpat|dop_v1)[_-][\w-]{12,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[\w-]{30,}"
    r"|\bya29\.[\w-]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?:(?!-----END)[\s\S])*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
    r"|(?<=://)[^/\s:@\"']*:[^/\s@\"']+(?=@)"
    r"|(?<=[?&])(?i:access_token|refresh_token|id_token|token|api_?key|key|sig|signature|secret|password|code)=[^&\s\"']+"
)
SHORTEST_SHAPE: Final = 16


class _Pattern(Protocol):
    def sub(self, repl: str, text: str) -> str: ...


class Redactor:
    """The rules of one place: built-in ones, and the operator's own key names and RE2 patterns.

    Raises `ValueError` when a pattern is no RE2 expression.
    """

    def __init__(self, keys: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self._own_keys: Final = frozenset(_plain(key) for key in keys)
        self._own_patterns: Final = tuple(_compiled(pattern) for pattern in patterns)
        self._is_secret = lru_cache(maxsize=4096)(self._judge_key)

    def redact(self, value: Any) -> Any:
        """`value` (decoded JSON) with every secret replaced by `[redacted]`; a new value, never the same."""
        return self._walk(value, MAX_DEPTH)

    def text(self, text: str) -> str:
        """`text` with everything that looks like a secret replaced."""
        if len(text) >= SHORTEST_SHAPE and _may_hold_shape(text):
            text = SECRET_SHAPES.sub(MARK, text)
        for pattern in self._own_patterns:
            text = pattern.sub(MARK, text)
        return text

    def is_secret(self, key: str, value: Any) -> bool:
        """Whether the value under this key goes, whatever it looks like. Counts such as `max_tokens` stay."""
        verdict = self._is_secret(key)
        return verdict == "always" or (verdict == "unless-number" and not isinstance(value, int | float))

    def _judge_key(self, key: str) -> str:
        plain = _plain(key)
        if plain in self._own_keys:
            return "always"
        if plain.endswith(COUNTED_WORDS):
            return "unless-number"
        if any(word in plain for word in SECRET_WORDS) or not SHORT_WORDS.isdisjoint(_words(key)):
            return "always"
        return ""

    def _walk(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict | list) and depth == 0:
            return "[too deep]"
        if isinstance(value, dict):
            return {
                self.text(key): MARK
                if self.is_secret(key, item) and item is not None
                else self._walk(item, depth - 1)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._walk(item, depth - 1) for item in value]
        return value


def _may_hold_shape(text: str) -> bool:
    """Never False for text in which `SECRET_SHAPES` finds something; 0.5 µs where the search takes 8 to 50."""
    return (
        "eyJ" in text or "AKIA" in text or "ASIA" in text or "AIza" in text or "ya29" in text
        or "://" in text or "-----BEGIN" in text or ("=" in text and ("?" in text or "&" in text))
        or (("_" in text or "-" in text) and _may_hold_prefix(text))
        or "bearer" in (folded := text.casefold()) or "basic" in folded
    )  # fmt: skip


def _may_hold_prefix(text: str) -> bool:
    return (
        "mcph" in text or "sk" in text or "pk" in text or "rk" in text or "gh" in text or "github" in text
        or "glpat" in text or "npm" in text or "hf" in text or "e2b" in text or "pypi" in text or "xox" in text
        or "shpat" in text or "dop_v1" in text
    )  # fmt: skip


def _plain(key: str) -> str:
    return re.sub(r"[^0-9a-z]", "", key.lower())


def _words(key: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key).lower())


def _compiled(pattern: str) -> _Pattern:
    try:
        compiled: _Pattern = re2.compile(pattern)
    except re2.error as error:
        raise ValueError(f"not an RE2 pattern: {pattern!r} ({error})") from None
    return compiled


def kept(body: bytes, redactor: Redactor | None, limit: int) -> bytes:
    """What is stored of a JSON payload: redacted when a redactor is given, at most about `limit` bytes.

    What is too long is kept as `{"truncated": true, "bytes": n, "start": "…"}`; what is no JSON, as a string.
    """
    if len(body) > limit * 16:
        return _cut(len(body), "", limit)
    if redactor is not None:
        body = msgspec.json.encode(redactor.redact(_decoded(body)))
    if len(body) > limit:
        return _cut(len(body), body.decode(errors="replace"), limit)
    return body


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode(errors="replace")


def _cut(size: int, text: str, limit: int) -> bytes:
    start = text.encode()[: max(0, limit - 64)].decode(errors="ignore")
    return msgspec.json.encode({"truncated": True, "bytes": size, "start": start})
