"""Bytes on a socket: what no HTTP library would send."""

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

QUIET_S: Final = 0.5
"""A server that has said something and then nothing for so long is taken to have answered."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back: all bytes, whether the server closed the connection, and after how many seconds it was over."""

    text: bytes
    closed: bool
    took: float

    @property
    def status(self) -> int:
        """The status of the first answer; 0 when there was none."""
        return int(self.text.split(b" ", 2)[1]) if self.text.startswith(b"HTTP/1.") else 0

    @property
    def statuses(self) -> list[int]:
        """The status of every answer, 100 included."""
        parts = self.text.split(b"HTTP/1.1 ")[1:]
        return [int(part[:3]) for part in parts if part[:3].isdigit() and part[3:4] == b" "]

    @property
    def json(self) -> Any:
        """The body of the first answer."""
        return json.loads(self.text.partition(b"\r\n\r\n")[2])


def dial(port: int, *, within: float = 15, window: int | None = None, source: str = "") -> socket.socket:
    """A connection to this machine; `window` keeps what the server can send ahead of the reader small."""
    link = socket.socket()
    if window is not None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    if source:
        link.bind((source, 0))
    link.settimeout(within)
    link.connect(("127.0.0.1", port))
    return link


def say(port: int, *pieces: bytes, within: float = 15) -> Heard:
    """Send the pieces, each in a packet of its own, and listen until the server closes or has been quiet."""
    begun = time.monotonic()
    with dial(port, within=within) as link:
        with contextlib.suppress(OSError):  # it may close before it has heard all
            for piece in pieces:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link.sendall(piece)
        text, closed = listen(link)
    return Heard(text, closed, time.monotonic() - begun)


def listen(link: socket.socket) -> tuple[bytes, bool]:
    """Everything that comes, and whether the connection was closed by the other side."""
    text = b""
    while True:
        try:
            piece = link.recv(65536)
        except TimeoutError:
            return text, False
        except OSError:
            return text, True
        if not piece:
            return text, True
        text += piece
        link.settimeout(QUIET_S)


def request(
    line: str = "POST /mcp HTTP/1.1",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    host: str = "localhost",
    extra: str = "",
    length: bool = True,
) -> bytes:
    """A request; `extra` stands in the head as it is."""
    head = [
        line,
        *([f"Host: {host}"] if host else []),
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    if length:
        head.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(head) + "\r\n" + extra + "\r\n").encode("latin-1") + body
