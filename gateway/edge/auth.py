"""What a client presents to be let in: a Bearer token, `X-API-Key`, or the password of Basic. Never the query."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from gateway.edge.config import EdgeConfig
from gateway.types import Credentials, Route

NOTHING: Final = Credentials("none", "")
SCOPE: Final = "mcp"
"""What a token needs on every endpoint."""


def credentials_of(headers: Mapping[bytes, bytes]) -> Credentials:
    """The credential in the headers. `X-API-Key` is the hub's own header and goes before `Authorization`,
    which may be meant for a proxy on the way. Something unreadable counts as nothing presented.
    """
    if (key := headers.get(b"x-api-key")) is not None:
        return Credentials("api-key", key.decode("latin-1").strip())
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    kind = scheme.lower()
    if kind == b"bearer":
        return Credentials("bearer", value.decode("latin-1").strip())
    if kind == b"basic":
        return Credentials("basic", _password(value.strip()))
    return NOTHING


def _password(encoded: bytes) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def challenge(config: EdgeConfig, route: Route, base_url: str, error: str) -> bytes:
    """`WWW-Authenticate` for a 401 or 403 (RFC 9728 section 5.1, RFC 6750 section 3); `error` "" without one."""
    metadata = f"{base_url}/.well-known/oauth-protected-resource{quote(config.path_prefix + route.path)}"
    told = f'error="{error}", ' if error else ""
    return f'Bearer {told}scope="{SCOPE}", resource_metadata="{metadata}"'.encode("latin-1", "replace")
