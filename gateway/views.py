"""Lists as bytes: definitions under their public names, paged, in the client's era. No I/O."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.catalogue import Entry
from policies.types import Kind
from upstreams.types import MODERN, Era

MEMBER: Final[dict[Kind, str]] = {
    "tool": "tools",
    "prompt": "prompts",
    "resource": "resources",
    "template": "resourceTemplates",
}
NAMED_BY: Final[dict[Kind, str]] = {
    "tool": "name",
    "prompt": "name",
    "resource": "uri",
    "template": "uriTemplate",
}

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
encode: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class View:
    """One principal's list of one kind: what it is called, what it says, and a digest of it all.

    `wrapped` holds (upstream id, own URI) of resources whose URI is not unique in this view.
    """

    names: tuple[str, ...]
    fragments: tuple[bytes, ...]
    digest: str
    wrapped: frozenset[tuple[str, str]] = frozenset()

    def page_after(self, last: str, size: int) -> tuple[Sequence[bytes], str]:
        """The fragments whose names follow `last`, and the last name of the page ("" at the end)."""
        start = self._first_after(last) if last else 0
        page = self.fragments[start : start + size]
        more = start + size < len(self.fragments)
        return page, self.names[start + size - 1] if more else ""

    def _first_after(self, last: str) -> int:
        return next((at for at, name in enumerate(self.names) if name > last), len(self.names))


def build(kind: Kind, entries: Iterable[Entry], *, own_names: bool, revision: str) -> View:
    """The view of `entries`, sorted by the names that the client sees."""
    chosen = list(entries)
    wrapped = _colliding(chosen) if kind in ("resource", "template") and not own_names else frozenset()
    shown = sorted(((shown_name(entry, own_names, wrapped), entry) for entry in chosen), key=lambda pair: pair[0])
    fragments = tuple(render(entry, name, revision) for name, entry in shown)
    digest = hashlib.blake2b(b"\n".join(fragments), digest_size=12).hexdigest()
    return View(tuple(name for name, _ in shown), fragments, digest, wrapped)


def shown_name(entry: Entry, own_names: bool, wrapped: frozenset[tuple[str, str]]) -> str:
    """What the client calls the entry: its own name, its public one, or a wrapped URI."""
    if entry.kind in ("tool", "prompt"):
        return entry.name if own_names else entry.public
    return wrap(entry.upstream, entry.name) if (entry.upstream_id, entry.name) in wrapped else entry.name


def render(entry: Entry, name: str, revision: str) -> bytes:
    """The definition's JSON text under `name`; nothing else of it changes, but what a revision cannot carry."""
    must_drop = revision != MODERN and b'"outputSchema"' in entry.body
    if name == entry.name and not must_drop:
        return entry.body
    found = _object.decode(entry.body)
    found[NAMED_BY[entry.kind]] = msgspec.Raw(encode(name))
    if must_drop and not _is_object_schema(bytes(found.get("outputSchema", b"{}"))):
        del found["outputSchema"]
    return encode(found)


def _is_object_schema(schema: bytes) -> bool:
    try:
        kind = _object.decode(schema).get("type")
    except msgspec.DecodeError:
        return False
    return kind is not None and bytes(kind) == b'"object"'


def _colliding(entries: Sequence[Entry]) -> frozenset[tuple[str, str]]:
    seen: dict[str, set[str]] = {}
    for entry in entries:
        seen.setdefault(entry.name, set()).add(entry.upstream_id)
    return frozenset((entry.upstream_id, entry.name) for entry in entries if len(seen[entry.name]) > 1)


def wrap(upstream: str, uri: str) -> str:
    """A URI made unique: `hub+<slug>:<original>`. A wrapped RFC 6570 template stays one."""
    return f"hub+{upstream}:{uri}"


def unwrap(uri: str) -> tuple[str, str]:
    """(slug, original URI) of a wrapped URI, ("", uri) of any other."""
    if not uri.startswith("hub+"):
        return "", uri
    slug, colon, original = uri[4:].partition(":")
    return (slug, original) if colon else ("", uri)


def page(
    kind: Kind, fragments: Sequence[bytes], cursor: str, *, era: Era, ttl_ms: int, absent: Sequence[str]
) -> bytes:
    """One page of a list as a result in the client's era; `absent` names upstreams that do not answer."""
    parts = [b'"', MEMBER[kind].encode(), b'":[', b",".join(fragments), b"]"]
    if cursor:
        parts += [b',"nextCursor":', encode(cursor)]
    if era == "modern":
        parts += [b',"resultType":"complete","cacheScope":"private","ttlMs":', str(ttl_ms).encode()]
    if absent:
        parts += [b',"_meta":', encode({"mcphub/absent": list(absent)})]
    return b"{" + b"".join(parts) + b"}"
