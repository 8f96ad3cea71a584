"""What a request's `params._meta` says to the hub itself; everything else in it travels on."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.eras.jsonrpc import dumps
from gateway.errors import INVALID_PARAMS, refused

TRACE_KEYS: Final = ("traceparent", "tracestate", "baggage")
CLIENT_BYTES: Final = 64 * 1024
NO_TRACE: Final[Mapping[str, str]] = {}


def check_client(capabilities: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Raises `Refused` (400, -32602) when a client says more of itself than `CLIENT_BYTES`: all of it is kept."""
    if len(dumps([capabilities, info])) > CLIENT_BYTES:
        raise refused(400, INVALID_PARAMS, f"capabilities and clientInfo are larger than {CLIENT_BYTES} bytes")


def take_asides(params: dict[str, Any], headers: Mapping[bytes, bytes]) -> tuple[str | int | None, Mapping[str, str]]:
    """Progress token and trace context of a request, taken out of its parameters; an emptied `_meta` goes too."""
    meta = params.get("_meta")
    if not isinstance(meta, dict):
        return None, take_trace({}, headers)
    asides = take_progress_token(meta), take_trace(meta, headers)
    if not meta:
        del params["_meta"]
    return asides


def take_progress_token(meta: dict[str, Any]) -> str | int | None:
    """Remove and return the progress token. Raises `Refused` (400, -32602) when it is no string or integer."""
    token = meta.pop("progressToken", None)
    if token is None or (isinstance(token, str | int) and not isinstance(token, bool)):
        return token
    raise refused(400, INVALID_PARAMS, "progressToken must be a string or an integer")


def take_trace(meta: dict[str, Any], headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
    """Remove and return W3C trace context from `meta`, else read it from the HTTP headers."""
    if "traceparent" in meta:
        taken = {key: meta.pop(key, None) for key in TRACE_KEYS}
        return {key: value for key, value in taken.items() if isinstance(value, str)}
    if b"traceparent" in headers:
        found = {key: headers.get(key.encode()) for key in TRACE_KEYS}
        return {key: value.decode("latin-1") for key, value in found.items() if value is not None}
    return NO_TRACE
