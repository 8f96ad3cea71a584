"""Identifiers: time-ordered row ids, call ids, and the slug rule."""

import os
import re
import time
import uuid
from typing import Final

SLUG_PATTERN: Final = r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])"
RANDOM_BYTES: Final = 10
AT_ONCE: Final = 256
SLUG: Final = re.compile(rf"\A{SLUG_PATTERN}\Z")


def new_uuid() -> uuid.UUID:
    """A time-ordered UUID (version 7, RFC 9562 section 5.7), so that rows arrive in index order."""
    value = bytearray(time.time_ns().__floordiv__(1_000_000).to_bytes(6, "big") + os.urandom(10))
    value[6] = (value[6] & 0x0F) | 0x70
    value[8] = (value[8] & 0x3F) | 0x80
    return uuid.UUID(bytes=bytes(value))


def new_call_id() -> str:
    """A call id: 32 hex digits, time-ordered, unguessable in its last 80 bits."""
    return f"{time.time_ns() // 1_000_000:012x}{_random_hex()}"


_stock: Final[list[str]] = []
os.register_at_fork(after_in_child=_stock.clear)


def _random_hex() -> str:
    """20 hex digits of the system's randomness, fetched many at once: each fetch lets other threads in between."""
    if not _stock:
        fetched = os.urandom(RANDOM_BYTES * AT_ONCE).hex()
        _stock.extend(fetched[at : at + 2 * RANDOM_BYTES] for at in range(0, len(fetched), 2 * RANDOM_BYTES))
    return _stock.pop()


def is_slug(value: str) -> bool:
    """Whether `value` is 2–32 lower-case letters, digits and inner hyphens (DESIGN: names)."""
    return SLUG.match(value) is not None


def is_uuid(value: str) -> bool:
    """Whether `value` is a UUID as text."""
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
