"""What a server answers by itself, before or without the application: short, JSON, and the connection ends."""

import json
from http import HTTPStatus
from typing import Final

LINGER_S: Final = 2.0
"""How long what a refused client still sends is read and dropped, so that it can see the answer."""

LINGER_BYTES: Final = 16 * 1024 * 1024
"""And how much of it."""

_TEXTS: Final[dict[int, str]] = {
    408: "The request did not arrive in time.",
    413: "The request body is too large.",
    431: "The request header is too large.",
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
