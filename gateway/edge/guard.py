"""Who may talk to this port at all: the Host and Origin checks that stop DNS rebinding, and CORS."""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from gateway.edge.config import LOOPBACK_NAMES, EdgeConfig
from gateway.eras.modern import PARAM_PREFIX
from gateway.errors import HEADER_MISMATCH, INVALID_REQUEST, Header, refused
from mcphub.core.addresses import parsed

KNOWN_HOSTS: Final = 256
ALLOWED_METHODS: Final = b"POST, GET, DELETE, OPTIONS"
EXPOSED: Final = b"Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After"
DEFAULT_REQUEST_HEADERS: Final = (
    b"Authorization, Content-Type, Accept, X-API-Key, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, "
    b"Mcp-Name, Last-Event-ID, traceparent, tracestate"
)
SINGLE: Final = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"last-event-id",
        b"mcp-method",
        b"mcp-name",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"origin",
        b"x-api-key",
    }
)
"""Headers whose second copy would make two readers disagree."""


class Guard:
    """The Host and Origin rules of one installation."""

    def __init__(self, config: EdgeConfig) -> None:
        self._config = config
        self._known: set[bytes] = set()

    def check(self, headers: Mapping[bytes, bytes]) -> tuple[Header, ...]:
        """CORS headers for the answer. Raises `Refused`: 421 for a wrong Host, 403 for a wrong Origin."""
        host = headers.get(b"host", b"")
        if host not in self._known:
            self._check_host(host)
        origin = headers.get(b"origin")
        if origin is None:
            return ()
        if not self._origin_allowed(origin.decode("latin-1"), host.decode("latin-1")):
            raise refused(403, INVALID_REQUEST, "Origin not allowed")
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED),
            (b"vary", b"Origin"),
        )

    def _check_host(self, host: bytes) -> None:
        text = host.decode("latin-1")
        if not self._host_allowed(text.lower()):
            raise refused(421, INVALID_REQUEST, "This host name is not served here")
        if len(self._known) < KNOWN_HOSTS:
            self._known.add(host)

    def _host_allowed(self, host: str) -> bool:
        allowed = self._config.hosts
        name = host_name(host)
        if name is None:
            return False
        if "*" in allowed or host in allowed or name in allowed or name in LOOPBACK_NAMES:
            return True
        # A literal address cannot be rebound by DNS; off loopback it is how machines of a local network call.
        return not self._config.loopback and parsed(name) is not None

    def _origin_allowed(self, origin: str, host: str) -> bool:
        if "*" in self._config.origins or origin in self._config.origins:
            return True
        scheme, separator, place = origin.partition("://")
        name = host_name(place)
        if scheme not in ("http", "https") or not separator or not name:
            return False
        return place == host or (self._config.loopback and name in LOOPBACK_NAMES)


def host_name(host: str) -> str | None:
    """The name of a Host header or origin without its port; None when it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        if parts.path or parts.query or parts.fragment or "@" in host or (parts.port or 0) < 0:
            return None
    except ValueError:
        return None
    return parts.hostname


def preflight(headers: Mapping[bytes, bytes]) -> tuple[Header, ...]:
    """What an OPTIONS request is answered, beside the CORS headers of every answer (Fetch standard)."""
    if b"origin" not in headers:
        return ((b"allow", ALLOWED_METHODS),)
    asked = headers.get(b"access-control-request-headers", DEFAULT_REQUEST_HEADERS)
    return (
        (b"access-control-allow-methods", ALLOWED_METHODS),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"600"),
    )


def check_duplicates(raw: Iterable[Header]) -> None:
    """Raises `Refused` (400) when a header that decides something is there twice."""
    seen: set[bytes] = set()
    for name, _ in raw:
        if name in SINGLE or name.startswith(PARAM_PREFIX):
            if name in seen:
                raise refused(400, HEADER_MISMATCH if name.startswith(b"mcp-") else INVALID_REQUEST, _twice(name))
            seen.add(name)


def _twice(name: bytes) -> str:
    return f"The header {name.decode('latin-1')} appears more than once"
