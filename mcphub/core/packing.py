"""Typed values as JSON text between the processes of one hub: big integers and lone surrogates survive."""

import json
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")


def _plain(value: Any) -> Any:
    """What msgspec does not know: read-only mappings."""
    return dict(value)


_encode: Final = msgspec.json.Encoder(enc_hook=_plain).encode


def pack(value: Any) -> bytes:
    """JSON text of dataclasses, structs and what they hold."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value, enc_hook=_plain), separators=(",", ":")).encode()


def unpack(text: bytes, kind: type[T]) -> T:
    """The value that `pack` was given."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeError):
        return msgspec.convert(json.loads(text), kind)
