"""Strict JSON for what clients send (RFC 8259, and no more): no NaN, bounded depth, no
duplicate keys, no half characters.
"""

import json
import re
from itertools import accumulate
from typing import Any, Final

MAX_DEPTH: Final = 64

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""A string, or the rest of the text after a quote that nothing closes: so no part of a text is read twice."""

_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Down and up again, as signed bytes."""

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class BadJson(ValueError):
    """The text is not acceptable JSON; the message says why in a few words."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson("duplicate key")
    return found


def _refuse_constant(name: str) -> Any:
    raise BadJson(f"{name} is not JSON")


def _bounded_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise BadJson("number out of range")
    return value


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_bounded_float
)


def loads(body: bytes) -> Any:
    """Parse UTF-8 JSON text. Raises `BadJson` for anything that two parsers could read differently."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadJson("not UTF-8") from None
    if text.startswith("\ufeff"):
        raise BadJson("byte order mark")
    if too_deep(body):
        raise BadJson(f"nested deeper than {MAX_DEPTH}")
    try:
        value, end = _decoder.raw_decode(text)
        if end != len(text):  # white space around it, or more than one value
            value = _decoder.decode(text)
    except BadJson:
        raise
    except (ValueError, RecursionError) as error:
        raise BadJson("malformed JSON") from error
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value)
    return value


def _refuse_lone_surrogates(value: Any) -> None:
    r"""Half a character (`"\ud83d"`) is no text: it cannot be stored, and programs behind the hub choke on it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadJson("lone surrogate") from None


def too_deep(body: bytes) -> bool:
    """Whether brackets outside strings nest deeper than `MAX_DEPTH`; cheap for shallow text."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    steps = memoryview(_STRING.sub(b"", body).translate(_STEPS, _NOT_BRACKETS)).cast("b")
    return max(accumulate(steps), default=0) > MAX_DEPTH
