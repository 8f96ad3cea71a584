"""What an upstream listed, checked one definition at a time, so that a bad one costs only itself."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mcp_types
from pydantic import BaseModel, ValidationError

IDENTITY: Final[Mapping[str, str]] = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}
SHAPES: Final[Mapping[str, type[BaseModel]]] = {
    "tool": mcp_types.Tool,
    "prompt": mcp_types.Prompt,
    "resource": mcp_types.Resource,
    "template": mcp_types.ResourceTemplate,
}
MAX_NAME_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Described:
    """One acceptable definition: `body` is its JSON text in the upstream's own key order."""

    kind: str
    name: str
    digest: str
    body: str
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dropped:
    """One definition that no client could use, and why."""

    kind: str
    name: str
    why: str


class _Unfit(Exception):
    """The definition is left out; the message says why."""


def described(kind: str, definitions: Iterable[Any], limit: int) -> tuple[list[Described], list[Dropped]]:
    """The definitions of one kind that clients can use, each name once and `limit` at most; and the others."""
    good: dict[str, Described] = {}
    bad: list[Dropped] = []
    for raw in definitions:
        try:
            item = _described(kind, raw)
            if item.name in good:
                raise _Unfit("listed twice; the first one counts")
            if len(good) == limit:
                raise _Unfit(f"more than {limit} of them")
        except _Unfit as fault:
            bad.append(Dropped(kind, _label(kind, raw), str(fault)))
        else:
            good[item.name] = item
    return list(good.values()), bad


def _described(kind: str, raw: Any) -> Described:
    if not isinstance(raw, dict):
        raise _Unfit("not an object")
    name = raw.get(IDENTITY[kind])
    if not isinstance(name, str) or not name:
        raise _Unfit(f"{IDENTITY[kind]} is missing")
    if not _storable(name):
        raise _Unfit(f"{IDENTITY[kind]} is longer than {MAX_NAME_BYTES} bytes or not text")
    if kind == "tool" and not _takes_object(raw):
        raise _Unfit("inputSchema is not a schema of type object")
    try:
        SHAPES[kind].model_validate(raw)
        body, canonical = _text(raw), _text(raw, sort_keys=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _Unfit(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise _Unfit("cannot be written as JSON") from None
    return Described(kind, name, hashlib.sha256(canonical.encode()).hexdigest(), body, raw)


def _takes_object(raw: Mapping[str, Any]) -> bool:
    schema = raw.get("inputSchema")
    return isinstance(schema, dict) and schema.get("type") == "object"


def _storable(name: str) -> bool:
    try:
        return "\0" not in name and len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _text(raw: Mapping[str, Any], sort_keys: bool = False) -> str:
    text = json.dumps(raw, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=sort_keys)
    if text.isascii() or _encodable(text):
        return text
    return json.dumps(raw, separators=(",", ":"), allow_nan=False, sort_keys=sort_keys)


def _encodable(text: str) -> bool:
    """Whether UTF-8 can carry it: a lone surrogate, legal in JSON as an escape, cannot be stored as it is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _label(kind: str, raw: Any) -> str:
    name = raw.get(IDENTITY[kind]) if isinstance(raw, dict) else None
    return ascii(name)[1:-1][:80] if isinstance(name, str) else ""
