"""How one HTTP link speaks: its era and revision, and in the handshake era the session that the upstream gave."""

from typing import Final

from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER

from upstreams.errors import ProtocolFault
from upstreams.transports.headers import SESSION_HEADER
from upstreams.transports.http1 import Wire
from upstreams.transports.origin import Headers, header_lines
from upstreams.types import Era

MOST_CHARACTERS: Final = 1024


class Session:
    """`head` are the header lines of every request but `initialize`, which carries `bare`; `id` is "" for none.

    To both go those of the account that the link presents, as it was last: `account`.
    """

    def __init__(self, headers: Headers) -> None:
        self.era: Era = "modern"
        self.id = ""
        self.head = b""
        self.account = b""
        self.bare = header_lines(headers)
        self._headers = headers

    def settle(self, era: Era, revision: str) -> None:
        """Speak this era and revision from now on, in the session that was taken."""
        self.era = era
        headers = [*self._headers, (MCP_PROTOCOL_VERSION_HEADER, revision)]
        if self.id:
            headers.append((SESSION_HEADER, self.id))
        self.head = header_lines(headers)

    def take(self, wire: Wire) -> None:
        """Be in the session that the answer to `initialize` gives. Raises `ProtocolFault` for an unusable id."""
        given = wire.header(SESSION_HEADER.encode())
        if not (given.isascii() and given.isprintable()) or len(given) > MOST_CHARACTERS:
            raise ProtocolFault("The upstream gave an unusable session id.")
        self.id = given
