"""Whether a URI is written in the one way in which rules and switches can speak of it. Pure."""

import re
from typing import Final

_DOT_SEGMENT: Final = re.compile(r"(?:\A|[/\\:])\.{1,2}(?:[/\\]|\Z)")
_NEEDLESS: Final = re.compile(r"%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])", re.IGNORECASE)
"""Unreserved characters, percent-encoded."""
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f]")
_PATH: Final = re.compile(r"[^?#]*")


def is_normal(uri: str) -> bool:
    """Whether `uri` is in normal form (RFC 3986 section 6.2.2): lower-case scheme, no dot segments, nothing encoded
    that need not be. A server resolves `a/../b` and `%62` to `b`, which a rule may have closed.
    """
    scheme = uri.partition(":")[0]
    path = _PATH.match(uri)
    return (
        scheme == scheme.lower()
        and not _NEEDLESS.search(uri)
        and not _UNPRINTABLE.search(uri)
        and not (path and _DOT_SEGMENT.search(path[0]))
    )
