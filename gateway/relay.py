"""Results on their way from an upstream of one era to a client of the other. No I/O.

Values are never parsed further than the one level that has to change: what stays, stays byte for byte.
"""

import json
from typing import Final

import msgspec

from upstreams.types import Era

COMPLETE: Final = b'"resultType":"complete"'
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
MODERN_ONLY: Final = frozenset({"resultType", "ttlMs", "cacheScope"})
PRIVATE: Final = msgspec.Raw(b'"private"')
NOT_CACHED: Final = b',"ttlMs":0,"cacheScope":"private"'

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Typed(msgspec.Struct):
    kind: str = msgspec.field(name="resultType", default="complete")


_typed: Final = msgspec.json.Decoder(_Typed)
encode: Final = msgspec.json.encode


class NotAnObject(ValueError):
    """A result that is no JSON object, which no revision allows."""


def members(raw: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object with their values as text. Raises `NotAnObject`."""
    try:
        return _object.decode(raw)
    except msgspec.DecodeError:
        raise NotAnObject from None


def result_type(raw: bytes) -> str:
    """`resultType` of a modern result; "complete" where an older server has none."""
    if raw.find(b'"resultType"') < 0:  # a quarter of what `in` takes for bytes
        return "complete"
    try:
        return _typed.decode(raw).kind
    except msgspec.DecodeError:
        return _result_type_leniently(raw)


def _result_type_leniently(raw: bytes) -> str:
    """For text with lone surrogates, which msgspec refuses. Raises `NotAnObject`."""
    try:
        found = json.loads(raw)["resultType"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NotAnObject from None
    if not isinstance(found, str):
        raise NotAnObject
    return found


def for_client(raw: bytes, *, upstream: Era, client: Era, cacheable: bool = False) -> bytes:
    """A complete result in the client's era. `cacheable`: the method's results carry caching hints."""
    if upstream == client:
        return privately(raw) if cacheable and b'"public"' in raw else raw
    return to_modern(raw, cacheable=cacheable) if client == "modern" else to_handshake(raw)


def privately(raw: bytes) -> bytes:
    """What the upstream shows to anybody is for those whom policy lets see it: no shared cache may keep it."""
    found = members(raw)
    return encode({**found, "cacheScope": PRIVATE}) if "cacheScope" in found else raw


def to_modern(raw: bytes, *, cacheable: bool = False) -> bytes:
    """Add what 2026-07-28 requires of a complete result."""
    body = raw.strip()
    if not (body.startswith(b"{") and body.endswith(b"}")):
        raise NotAnObject
    head = COMPLETE + (NOT_CACHED if cacheable else b"")
    rest = body[1:].lstrip()
    return b"{" + head + (b"" if rest == b"}" else b",") + rest


def to_handshake(raw: bytes) -> bytes:
    """Take away what only 2026-07-28 knows; wrap structured content that older revisions cannot carry."""
    found = members(raw)
    for name in MODERN_ONLY:
        found.pop(name, None)
    structured = found.get("structuredContent")
    if structured is not None and not bytes(structured).lstrip().startswith(b"{"):
        found["structuredContent"] = msgspec.Raw(encode({"result": structured}))
    if (meta := found.get("_meta")) is not None and SERVER_INFO.encode() in bytes(meta):
        inner = members(bytes(meta))
        inner.pop(SERVER_INFO, None)
        found["_meta"] = msgspec.Raw(encode(inner))
    return encode(found)
