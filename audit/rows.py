"""From an event to the row that is stored, and from a row to the bytes that are chained."""

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from audit import chain
from audit.events import Event, PayloadMode
from audit.redaction import Redactor, kept

COLUMNS: Final = (
    "id", "kind", "at", "org_id", "org", "call_id", "principal_id", "principal", "credential", "application",
    "method", "upstream", "name", "risk", "effect", "rule", "reason", "outcome", "upstream_identity",
    "latency_us", "request_bytes", "result_bytes", "trace_id", "source", "payload_mode", "payload_digest",
    "details", "mac",
)  # fmt: skip
"""Columns of the event table in the order in which they are chained; `mac` closes the row."""

PAYLOAD_COLUMNS: Final = ("id", "salt", "body")
TEXT_LIMIT: Final = 2_048
DETAILS_LIMIT: Final = 16_384
SALT_BYTES: Final = 16

_BARE_ROW_BYTES: Final = 4_096
_BUILT_IN: Final = Redactor()

_PAYLOAD_FIELD: Final = Event.__struct_fields__.index("payload")
_ENUM_FIELDS: Final = tuple(map(Event.__struct_fields__.index, ("kind", "risk", "effect", "outcome")))

Row = tuple[Any, ...]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event made ready to be stored: its columns without `id` and `mac`, and the payload beside it."""

    columns: Row
    salt: bytes
    body: bytes


def draft(event: Event, payload_key: bytes, payload_limit: int) -> Draft:
    """Redact, cut and hash what the event's payload mode says; `payload_limit` in bytes.

    Raises `ValueError` or `TypeError` for details that are no JSON.
    """
    fields = list(msgspec.structs.astuple(event)[:_PAYLOAD_FIELD])
    for position in _ENUM_FIELDS:
        fields[position] = str(fields[position])
    digest, salt, body = _payload(event, payload_key, payload_limit) if event.payload else (b"", b"", b"")
    details = _details(event) if event.details else "{}"
    return Draft((*fields, str(event.payload_mode), digest, details), salt, body)


def check(draft: Draft) -> None:
    """Raise `ValueError` for columns that no database takes; asked only after a batch failed."""
    msgspec.convert(draft.columns, _Columns)


_Columns = tuple[
    str, _Int64, str, str, str, str, str, str, str, str, str, str, str, str, str, str, str, str,
    _Int64, _Int64, _Int64, str, str, str, bytes, str,
]  # fmt: skip


def _payload(event: Event, key: bytes, limit: int) -> tuple[bytes, bytes, bytes]:
    mode = event.payload_mode
    if mode == PayloadMode.NONE:
        return b"", b"", b""
    if mode == PayloadMode.HASH:
        return chain.payload_digest(key, b"", event.payload), b"", b""
    body = kept(event.payload, None if mode == PayloadMode.FULL else _BUILT_IN, limit)
    salt = os.urandom(SALT_BYTES)
    return chain.payload_digest(key, salt, body), salt, body


def _details(event: Event) -> str:
    details = _BUILT_IN.redact(dict(event.details))
    try:
        text = msgspec.json.encode(details, enc_hook=str).decode()
    except UnicodeEncodeError:
        text = json.dumps(details, default=str)
    if len(text) > DETAILS_LIMIT:
        text = f'{{"truncated":true,"bytes":{len(text)}}}'
    return text.replace("\\u0000", "\\ufffd")


def sealed(draft: Draft, position: chain.Position) -> Row:
    """The whole row as the next of its chain, `mac` last; moves `position` on."""
    row = (chain.row_id(position.writer_id, position.seq + 1), *draft.columns)
    try:
        message = chain.canonical(row)
    except UnicodeEncodeError:
        message = b"\\u0000"
    if len(message) > _BARE_ROW_BYTES or message.find(b"\\u0000") >= 0:
        *plain, details = row
        row = (*(_storable(value) if type(value) is str else value for value in plain), details)
        message = chain.canonical(row)
    return (*row, position.advance(message))


def _storable(text: str) -> str:
    """Text that every database holds: no NUL, no lone surrogates, bounded."""
    clean = text[:TEXT_LIMIT].replace("\0", "\ufffd").encode(errors="replace").decode()
    return clean if len(text) <= TEXT_LIMIT else clean[:-1] + "…"


def follows(row: Sequence[Any], position: chain.Position) -> bool:
    """Whether a stored row (in `COLUMNS` order) is the next of its chain, unaltered; moves `position` on."""
    columns = [bytes(value) if isinstance(value, memoryview) else value for value in row]
    mac = columns.pop()
    return position.advance(chain.canonical(columns)) == mac
