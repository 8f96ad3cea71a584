"""Listening sockets, opened before anything else is done, so that a busy port is known at once."""

import errno
import socket
from typing import Final

BACKLOG: Final = 2048


class CannotListen(Exception):
    """The address cannot be bound; the message is a plain sentence for the person at the terminal."""


def listen(host: str, port: int) -> socket.socket:
    """A non-blocking TCP socket that listens on `host` and `port` (0: any free one). Raises `CannotListen`."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CannotListen(f"The host {host!r} is not an address of this machine ({error.strerror}).") from None
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise CannotListen(_sentence(error, host, port)) from None
    sock.setblocking(False)
    return sock


def _sentence(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is already in use. Stop what runs there, or choose another one with --port."
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Choose one above 1023 with --port."
    return f"Cannot listen on {host} port {port}: {error.strerror}."
