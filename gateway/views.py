"""Lists as bytes: definitions under their public names, paged, in the client's era. No I/O."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.catalogue import Entry
from policies.types import Kind
from upstreams.naming import public_name
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

APP_SCHEME: Final = "ui://"
APP_FLAT: Final = "ui/resourceUri"
"""The older key of `_meta` for the same as `ui.resourceUri`."""

Wrapped = frozenset[tuple[str, str]]
NOTHING_WRAPPED: Final[Wrapped] = frozenset()

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
    wrapped: Wrapped = NOTHING_WRAPPED

    def page_after(self, last: str, size: int) -> tuple[Sequence[bytes], str]:
        """The fragments whose names follow `last`, and the last name of the page ("" at the end)."""
        start = self._first_after(last) if last else 0
        page = self.fragments[start : start + size]
        more = start + size < len(self.fragments)
        return page, self.names[start + size - 1] if more else ""

    def _first_after(self, last: str) -> int:
        return next((at for at, name in enumerate(self.names) if name > last), len(self.names))


def build(
    kind: Kind, entries: Iterable[Entry], *, own_names: bool, revision: str, wrapped: Wrapped = NOTHING_WRAPPED
) -> View:
    """The view of `entries`, sorted by the names that the client sees. `wrapped` are URIs of resources."""
    chosen = list(entries)
    if kind == "template" and not own_names:
        wrapped = colliding((entry.upstream_id, entry.name) for entry in chosen)
    shown = sorted(((shown_name(entry, own_names, wrapped), entry) for entry in chosen), key=lambda pair: pair[0])
    fragments = tuple(render(entry, name, revision, wrapped) for name, entry in shown)
    digest = hashlib.blake2b(b"\n".join(fragments), digest_size=12).hexdigest()
    return View(tuple(name for name, _ in shown), fragments, digest, wrapped)


def shown_name(entry: Entry, own_names: bool, wrapped: Wrapped) -> str:
    """What the client calls the entry: its own name, its public one, or a wrapped URI."""
    if entry.kind in ("tool", "prompt"):
        return entry.own if own_names else entry.public
    return wrap(entry.upstream, entry.name) if (entry.upstream_id, entry.name) in wrapped else entry.name


def render(entry: Entry, name: str, revision: str, wrapped: Wrapped = NOTHING_WRAPPED) -> bytes:
    """The definition's JSON text under `name`; nothing else changes but what a revision cannot carry, and the URI
    of the tool's app where it is wrapped.
    """
    must_drop = revision != MODERN and b'"outputSchema"' in entry.body
    app = app_of(entry) if wrapped else ""
    must_wrap = (entry.upstream_id, app) in wrapped
    if name == entry.name and not must_drop and not must_wrap:
        return entry.body
    found = _object.decode(entry.body)
    if must_wrap:
        found["_meta"] = msgspec.Raw(encode(_with_app(found["_meta"], wrap(entry.upstream, app))))
    found[NAMED_BY[entry.kind]] = msgspec.Raw(encode(name))
    if must_drop and not _is_object_schema(bytes(found.get("outputSchema", b"{}"))):
        del found["outputSchema"]
    return encode(found)


def app_of(entry: Entry) -> str:
    """The URI of the user interface that a tool names (MCP Apps); "" for none."""
    if b"resourceUri" not in entry.body:
        return ""
    try:
        meta = msgspec.json.decode(_object.decode(entry.body)["_meta"])
        return str(meta["ui"]["resourceUri"] if "ui" in meta else meta[APP_FLAT])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""


def _with_app(meta: msgspec.Raw, uri: str) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(meta)
    if "ui" in said:
        said["ui"]["resourceUri"] = uri
    if APP_FLAT in said:
        said[APP_FLAT] = uri
    return said


def _is_object_schema(schema: bytes) -> bool:
    try:
        kind = _object.decode(schema).get("type")
    except msgspec.DecodeError:
        return False
    return kind is not None and bytes(kind) == b'"object"'


def colliding(claims: Iterable[tuple[str, str]]) -> Wrapped:
    """Of (upstream id, URI) pairs those whose URI more than one upstream has."""
    holders: dict[str, set[str]] = {}
    for upstream_id, uri in claims:
        holders.setdefault(uri, set()).add(upstream_id)
    return frozenset((upstream_id, uri) for uri, ids in holders.items() if len(ids) > 1 for upstream_id in ids)


def wrap(upstream: str, uri: str) -> str:
    """A URI made unique: `hub+<slug>:<original>`, or `ui://hub+<slug>/…` for an app's, whose scheme hosts look at.

    A wrapped RFC 6570 template stays one.
    """
    if uri.startswith(APP_SCHEME):
        return f"{APP_SCHEME}hub+{upstream}/{uri.removeprefix(APP_SCHEME)}"
    return f"hub+{upstream}:{uri}"


def unwrap(uri: str) -> tuple[str, str]:
    """(slug, original URI) of a wrapped URI, ("", uri) of any other."""
    scheme = APP_SCHEME if uri.startswith(APP_SCHEME) else ""
    rest = uri.removeprefix(scheme)
    if not rest.startswith("hub+"):
        return "", uri
    slug, found, original = rest[4:].partition("/" if scheme else ":")
    return (slug, scheme + original) if found else ("", uri)


def united(kind: Kind, views: Iterable[tuple[str, View]]) -> View:
    """The views of several orgs as one, every name behind the slug of its org."""
    shown = sorted(
        (behind(kind, org, name), fragment)
        for org, view in views
        for name, fragment in zip(view.names, view.fragments, strict=True)
    )
    fragments = tuple(_renamed(kind, fragment, name) for name, fragment in shown)
    digest = hashlib.blake2b(b"\n".join(fragments), digest_size=12).hexdigest()
    return View(tuple(name for name, _ in shown), fragments, digest)


def behind(kind: Kind, org: str, name: str) -> str:
    """What stands for `name` of one org where there are several."""
    return public_name(org, name) if kind in ("tool", "prompt") else wrap(org, name)


def _renamed(kind: Kind, fragment: bytes, name: str) -> bytes:
    found = _object.decode(fragment)
    found[NAMED_BY[kind]] = msgspec.Raw(encode(name))
    return encode(found)


def page(
    kind: Kind, fragments: Sequence[bytes], cursor: str, *, era: Era, ttl_ms: int, notes: Mapping[str, Any]
) -> bytes:
    """One page of a list as a result in the client's era, with `notes` in its `_meta`."""
    parts = [b'"', MEMBER[kind].encode(), b'":[', b",".join(fragments), b"]"]
    if cursor:
        parts += [b',"nextCursor":', encode(cursor)]
    if era == "modern":
        parts += [b',"resultType":"complete","cacheScope":"private","ttlMs":', str(ttl_ms).encode()]
    if notes:
        parts += [b',"_meta":', encode(notes)]
    return b"{" + b"".join(parts) + b"}"
