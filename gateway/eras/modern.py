"""The modern era (2026-07-28): every request carries its own envelope, and its headers must agree with it.

The order of the checks is the one of `mcp.shared.inbound.classify_inbound_request`, of which this is the lean
form: over the raw headers of ASGI, without a copy.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from mcp.shared.inbound import decode_header_value

from gateway.eras.levels import LOG_LEVELS
from gateway.eras.meta import CLIENT_BYTES, check_client, take_asides
from gateway.eras.methods import NAMED_BY, NAMED_IF_SENT
from gateway.errors import HEADER_MISMATCH, INVALID_PARAMS, UNSUPPORTED_VERSION, Refused, refused
from upstreams.errors import RpcError
from upstreams.types import HANDSHAKE_REVISIONS, MODERN, ClientFacts

PREFIX: Final = "io.modelcontextprotocol/"
VERSION_KEY: Final = PREFIX + "protocolVersion"
CAPABILITIES_KEY: Final = PREFIX + "clientCapabilities"
INFO_KEY: Final = PREFIX + "clientInfo"
LOG_LEVEL_KEY: Final = PREFIX + "logLevel"

VERSION_HEADER: Final = b"mcp-protocol-version"
METHOD_HEADER: Final = b"mcp-method"
NAME_HEADER: Final = b"mcp-name"
PARAM_PREFIX: Final = b"mcp-param-"

HANDSHAKE_HEADERS: Final = frozenset(revision.encode() for revision in HANDSHAKE_REVISIONS)
NOBODY: Final[Mapping[str, Any]] = {}


class Envelope(msgspec.Struct):
    """What a modern request says beside its parameters."""

    client: ClientFacts
    progress_token: str | int | None
    trace: Mapping[str, str]


def is_modern(version: bytes | None, message: Any) -> bool:
    """Whether a POST belongs to the modern era: by its version header, or by an envelope in the body.

    A header that names no handshake revision counts as modern, so that the client is told which there are.
    """
    if version is None or version in HANDSHAKE_HEADERS:
        claimed = _claimed_version(message)
        return claimed is not None and claimed not in HANDSHAKE_REVISIONS
    return True


def _claimed_version(message: Any) -> Any:
    try:
        return message["params"]["_meta"].get(VERSION_KEY)
    except (KeyError, TypeError, AttributeError):
        return None


def open_envelope(message: dict[str, Any], headers: Mapping[bytes, bytes], size: int) -> Envelope:
    """Check one modern request of `size` bytes and take the envelope keys out of its `params`.

    Raises `Refused`: -32602 (envelope missing or malformed), -32020 (headers disagree with the body),
    -32022 (revision that the hub does not serve).
    """
    params: dict[str, Any] = message.get("params", {})
    meta = params.get("_meta")
    if not isinstance(meta, dict) or VERSION_KEY not in meta or CAPABILITIES_KEY not in meta:
        raise refused(400, INVALID_PARAMS, f"params._meta must carry {VERSION_KEY!r} and {CAPABILITIES_KEY!r}")
    revision = meta[VERSION_KEY]
    _check_headers(message["method"], params, revision, headers)
    if revision != MODERN:
        raise unsupported(revision)
    client = _client(meta)
    if size > CLIENT_BYTES:
        check_client(client.capabilities, client.info)
    return Envelope(client, *take_asides(params, headers))


def _check_headers(method: str, params: dict[str, Any], revision: Any, headers: Mapping[bytes, bytes]) -> None:
    if not isinstance(revision, str) or headers.get(VERSION_HEADER) != revision.encode():
        raise mismatch("MCP-Protocol-Version does not match the protocol version in the body")
    if headers.get(METHOD_HEADER) != method.encode():
        raise mismatch("Mcp-Method does not match the method in the body")
    key = NAMED_BY.get(method)
    if key is None and (NAME_HEADER not in headers or (key := NAMED_IF_SENT.get(method)) is None):
        return
    name = params.get(key)
    if isinstance(name, str) and not _agrees(headers.get(NAME_HEADER), name):
        raise mismatch(f"Mcp-Name does not match {key!r} in the body")


def _agrees(header: bytes | None, name: str) -> bool:
    if header is None:
        return False
    text = header.decode("latin-1")
    return decode_header_value(text) == name if text.startswith("=?") else text == name


def _client(meta: dict[str, Any]) -> ClientFacts:
    del meta[VERSION_KEY]
    capabilities = meta.pop(CAPABILITIES_KEY)
    info = meta.pop(INFO_KEY, None)
    level = meta.pop(LOG_LEVEL_KEY, None)
    if not isinstance(capabilities, dict):
        raise refused(400, INVALID_PARAMS, f"{CAPABILITIES_KEY} must be an object")
    if info is not None and not isinstance(info, dict):
        raise refused(400, INVALID_PARAMS, f"{INFO_KEY} must be an object")
    if level is not None and not (isinstance(level, str) and level in LOG_LEVELS):
        raise refused(400, INVALID_PARAMS, f"{LOG_LEVEL_KEY} is not a log level")
    return ClientFacts(capabilities, NOBODY if info is None else info, level or "")


def param_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The headers that repeat arguments of a tool."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers.items()
        if name.startswith(PARAM_PREFIX)
    }


def check_notification(version: bytes | None) -> None:
    """A notification needs no envelope, only a revision that the hub serves. Raises `Refused` (-32022)."""
    if version != MODERN.encode():
        raise unsupported((version or b"").decode("latin-1"))


def mismatch(message: str) -> Refused:
    """400, -32020."""
    return refused(400, HEADER_MISMATCH, message)


def unsupported(requested: str) -> Refused:
    """400, -32022 with what the hub serves without a handshake."""
    data = {"supported": [MODERN], "requested": requested}
    return Refused(400, RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data))
