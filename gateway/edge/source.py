"""Where a request to the edge really came from, and by which URL."""

from collections.abc import Mapping
from typing import Any

from gateway.edge.config import EdgeConfig
from mcphub.core.peer import proxies


class Sources:
    """Reads `X-Forwarded-For` and `X-Forwarded-Proto`, but only from trusted peers."""

    def __init__(self, config: EdgeConfig) -> None:
        self._proxies = proxies(config.trusted_proxies)
        self._server_url = config.server_url

    def address(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """The address of the client: the last one in the chain that is no trusted proxy. "" for a Unix socket."""
        return self._proxies.real_address(_peer(scope), headers.get(b"x-forwarded-for", b"").decode("latin-1"))

    def base_url(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """The URL that the client used, without path: the configured one, or scheme and (checked) Host."""
        if self._server_url:
            return self._server_url
        forwarded = headers.get(b"x-forwarded-proto", b"").decode("latin-1")
        scheme = self._proxies.scheme(_peer(scope), scope.get("scheme", "http"), forwarded)
        return f"{scheme}://{headers.get(b'host', b'').decode('latin-1')}"


def _peer(scope: Mapping[str, Any]) -> str:
    """The address at the other end of the connection; "" for a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""
