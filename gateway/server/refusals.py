"""What a server answers by itself, before or without the application: short, JSON, and the connection ends."""

import json
from http import HTTPStatus
from typing import Final

LINGER_S: Final = 2.0
"""How long what a refused client still sends is read and dropped, so that it can see the answer."""

LINGER_BYTES: Final = 16 * 1024 * 1024
"""And how much of it."""

_TEXTS: Final[dict[int, str]] = {
    400: "This is not a valid HTTP/1.1 request.",
    408: "The request did not arrive in time.",
    413: "The request body is too large.",
    429: "Too many connections from this address are open.",
    431: "The request header is too large.",
    501: "Of the transfer codings only chunked is known here.",
    503: "Too many connections are open.",
    505: "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
}


def refusal(status: int) -> bytes:
    """A whole HTTP/1.1 response with a JSON-RPC error (-32600, no id) in its body."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": _TEXTS[status]}}
    body = json.dumps(error, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def target_path(target: bytes, host: bytes) -> bytes | None:
    """The path and query of a request target; None for one that is not to be served.

    The absolute form is taken when it names the same place as the Host header (RFC 9112 section 3.2.2 would have it
    replace the header; two that disagree are how a proxy and a server behind it come to read different requests).
    """
    if b"#" in target:
        return None
    if target.startswith(b"/") or target == b"*":
        return target
    scheme, separator, rest = target.partition(b"://")
    place, slash, path = rest.partition(b"/")
    if not separator or scheme.lower() not in (b"http", b"https") or place.lower() != host.lower() or b"?" in place:
        return None
    return slash + path or b"/"
