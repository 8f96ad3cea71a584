"""Reading a request's body, bounded in size and time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.errors import INVALID_REQUEST, refused
from mcphub.core.limits import Limits

Receive = Callable[[], Awaitable[Any]]
CLOSE = ((b"connection", b"close"),)


class ClientLeft(Exception):
    """The client closed the connection before it had said all."""


def check_declared(headers: Mapping[bytes, bytes], limits: Limits) -> None:
    """Raises `Refused` (413, or 400 for nonsense) from Content-Length alone, before anything is read."""
    declared = headers.get(b"content-length")
    if declared is None:
        return
    if not declared.isdigit():
        raise refused(400, INVALID_REQUEST, "Content-Length is not a number", CLOSE)
    if len(declared) > 15 or int(declared) > limits.body_bytes:
        raise too_large(limits)


async def read_body(receive: Receive, limits: Limits) -> bytes:
    """The whole body. Raises `Refused` (413, 408) or `ClientLeft`; nothing beyond the cap is kept or awaited."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientLeft
    body: bytes = message.get("body", b"")
    if len(body) > limits.body_bytes:
        raise too_large(limits)
    if not message.get("more_body", False):
        return body
    try:
        async with asyncio.timeout(limits.body_s):
            return await _read_on(receive, bytearray(body), limits)
    except TimeoutError:
        raise refused(408, INVALID_REQUEST, f"The body did not arrive within {limits.body_s:g} s", CLOSE) from None


async def _read_on(receive: Receive, body: bytearray, limits: Limits) -> bytes:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeft
        body += message.get("body", b"")
        if len(body) > limits.body_bytes:
            raise too_large(limits)
        if not message.get("more_body", False):
            return bytes(body)


def too_large(limits: Limits) -> Exception:
    """413; the connection ends with it, because the rest of the body is still on its way."""
    return refused(413, INVALID_REQUEST, f"The body is larger than {limits.body_bytes} bytes", CLOSE)
