"""Clients that do not read."""

import json
import socket
from typing import Any

import httpx

from tests.gateway.conftest import Edge, Handshake, call, eventually, modern_headers, seen


def send_and_stall(edge: Edge, message: Any, headers: dict[str, str]) -> socket.socket:
    """POST `message` on a socket with a tiny window, and read nothing."""
    body = json.dumps(message).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.connect(("127.0.0.1", edge.port))
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Type: application/json\r\n"
    link.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return link


async def test_f45_a_modern_reader_that_stalls_is_cut_and_its_call_cancelled(
    edge: Edge, client: httpx.AsyncClient
) -> None:
    message = call("flood", {"events": 3000, "bytes": 10_000, "pause": 60}, id_="stalled")
    link = send_and_stall(edge, message, modern_headers(message))

    async def cancelled() -> bool:
        return "stalled" in (await seen(client))["cancelled"]

    await eventually(cancelled, within=10)
    link.close()


async def test_f45_a_handshake_reader_that_stalls_delays_nobody(edge: Edge, client: httpx.AsyncClient) -> None:
    session = await Handshake(client).open()
    message = session.message("flood", {"events": 3000, "bytes": 10_000}, id_="unread")
    link = send_and_stall(edge, message, session.headers)

    async def finished() -> bool:
        return "unread" in (await seen(client))["finished"]

    await eventually(finished, within=10)
    link.close()
