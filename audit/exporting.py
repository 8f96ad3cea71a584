"""The record as a file: NDJSON or CSV, streamed page by page."""

import csv
import io
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from audit.models import AuditEvent
from audit.rows import COLUMNS
from audit.selectors import Query, oldest_first, payloads_of

Format = Literal["ndjson", "csv"]
FIELDS: Final = (*COLUMNS, "payload")
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def export(fmt: Format, query: Query) -> Iterator[bytes]:
    """The events of `query`, oldest first, in chunks of whole lines; CSV begins with a line of names.

    `at` stays microseconds since 1970; `mac` and `payload_digest` are hexadecimal; ids are text, because many JSON
    readers round numbers of 64 bits.
    """
    if fmt == "csv":
        yield _csv([FIELDS])
    for page in oldest_first(query.events()):
        payloads = payloads_of(page)
        if fmt == "csv":
            yield _csv([[_cell(value) for value in _values(row, payloads)] for row in page])
        else:
            yield b"".join(msgspec.json.encode(_document(row, payloads)) + b"\n" for row in page)


def _values(row: AuditEvent, payloads: dict[int, str]) -> list[Any]:
    values: list[Any] = [getattr(row, name) for name in COLUMNS]
    return [_plain(value) for value in values] + [payloads.get(row.id, "")]


def _document(row: AuditEvent, payloads: dict[int, str]) -> dict[str, Any]:
    document = dict(zip(FIELDS, _values(row, payloads), strict=True))
    document["id"] = str(row.id)
    document["details"] = msgspec.Raw(row.details.encode())
    document["payload"] = msgspec.Raw(document["payload"].encode() or b"null")
    return document


def _plain(value: Any) -> Any:
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a quote in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _csv(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
