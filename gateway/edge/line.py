"""The way to a client, whatever carries it."""

from typing import Protocol

from gateway.errors import Header
from mcphub.core.limits import Limits


class Line(Protocol):
    """Takes messages for a client: one HTTP response, or a connection that carries many requests.

    `sse` says whether messages can go before an answer; `left` that the client is gone.
    """

    limits: Limits
    headers: tuple[Header, ...]
    sse: bool
    left: bool

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the client that news had better not be added to it."""

    def event(self, message: bytes) -> None:
        """Send one JSON-RPC message."""

    def dismiss(self) -> None:
        """The hub ends this, while the client is still there."""
