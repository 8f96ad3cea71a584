"""Lists as bytes: names, pages, wrapped URIs, what an era cannot carry."""

import json

from gateway.catalogue import Catalogue, Entry
from gateway.views import build, colliding, page, unwrap, wrap
from policies.types import Kind, Risk
from upstreams.types import MODERN


def entry(upstream: str, name: str, kind: Kind = "tool", holder: str = "", **body: object) -> Entry:
    named = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}[kind]
    text = json.dumps({named: name, **body}).encode()
    return Entry(kind, f"id-{upstream}", upstream, name, f"{upstream}__{name}", text, Risk.READ, holder)


def shown(fragments: tuple[bytes, ...]) -> list[dict[str, object]]:
    return [json.loads(fragment) for fragment in fragments]


def test_aggregate_prefixes_and_single_upstream_does_not() -> None:
    entries = [entry("b", "go"), entry("a", "go", unknownField=[1, None])]
    assert build("tool", entries, own_names=False, revision=MODERN).names == ("a__go", "b__go")
    assert build("tool", entries[:1], own_names=True, revision=MODERN).names == ("go",)


def test_everything_but_the_name_stays_byte_for_byte() -> None:
    body = b'{ "name":"go", "inputSchema":{"type":"object","x":1e400,"big":123456789012345678901234567890},"n":null}'
    original = Entry("tool", "id", "a", "go", "a__go", body, Risk.READ)
    (fragment,) = build("tool", [original], own_names=False, revision=MODERN).fragments
    assert fragment.startswith(b'{"name":"a__go"')
    assert b'{"type":"object","x":1e400,"big":123456789012345678901234567890}' in fragment
    assert build("tool", [original], own_names=True, revision=MODERN).fragments == (body,)


def test_output_schema_that_handshake_revisions_cannot_carry_is_dropped_there_only() -> None:
    array = entry("a", "go", outputSchema={"type": "array"})
    kept = entry("a", "went", outputSchema={"type": "object"})
    handshake = shown(build("tool", [array, kept], own_names=True, revision="2025-11-25").fragments)
    assert ["outputSchema" in tool for tool in handshake] == [False, True]
    modern = shown(build("tool", [array, kept], own_names=True, revision=MODERN).fragments)
    assert all("outputSchema" in tool for tool in modern)


def test_pages_follow_the_last_name_and_end() -> None:
    view = build("tool", [entry("a", f"t{n}") for n in range(5)], own_names=False, revision=MODERN)
    first, last = view.page_after("", 2)
    assert len(first) == 2
    assert last == "a__t1"
    assert view.page_after(last, 3) == (view.fragments[2:], "")
    assert view.page_after("zzz", 3) == ((), "")


def test_colliding_uris_are_wrapped_and_unique_ones_are_not() -> None:
    entries = [
        entry("a", "file:///x", "resource"),
        entry("b", "file:///x", "resource"),
        entry("b", "file:///y", "resource"),
    ]
    wrapped = colliding((each.upstream_id, each.name) for each in entries)
    view = build("resource", entries, own_names=False, revision=MODERN, wrapped=wrapped)
    assert view.names == ("file:///y", "hub+a:file:///x", "hub+b:file:///x")
    assert view.wrapped == {("id-a", "file:///x"), ("id-b", "file:///x")}
    assert unwrap(wrap("a", "file:///x")) == ("a", "file:///x")
    assert unwrap(wrap("a", "ui://x/y.html")) == ("a", "ui://x/y.html")
    assert unwrap("file:///x") == ("", "file:///x")
    assert unwrap("ui://x/y.html") == ("", "ui://x/y.html")


def test_modern_page_is_private_and_names_the_absent() -> None:
    text = page("tool", [b'{"name":"x"}'], "next", era="modern", ttl_ms=5, notes={"mcphub/absent": ["down"]})
    assert json.loads(text) == {
        "tools": [{"name": "x"}],
        "nextCursor": "next",
        "resultType": "complete",
        "cacheScope": "private",
        "ttlMs": 5,
        "_meta": {"mcphub/absent": ["down"]},
    }
    assert json.loads(page("tool", [], "", era="handshake", ttl_ms=5, notes={})) == {"tools": []}


def test_personal_resources_are_seen_by_their_holder_only() -> None:
    catalogue = Catalogue([entry("a", "go", "resource"), entry("b", "mine", "resource", holder="user:1")])
    assert [found.name for found in catalogue.listed("resource", "user:1")] == ["go", "mine"]
    assert [found.name for found in catalogue.listed("resource", "user:2")] == ["go"]
    assert catalogue.own("id-b", "resource", "mine", "user:2") is None


def test_tools_of_others_are_seen_until_ones_own_are_known() -> None:
    entries = [entry("b", "all"), entry("b", "mine", holder="user:1"), entry("b", "yours", holder="user:2")]
    catalogue = Catalogue(entries, frozenset({("id-b", "user:1"), ("id-b", "user:2"), ("id-b", "user:3")}))
    assert [found.name for found in catalogue.listed("tool", "user:1")] == ["mine"]
    assert catalogue.listed("tool", "user:3") == []
    assert [found.name for found in catalogue.listed("tool", "user:4")] == ["all", "mine", "yours"]
    assert catalogue.public("tool", "b__yours", "user:1") is None
    assert catalogue.public("tool", "b__yours", "user:4") is not None


def test_bare_name_finds_every_upstream_that_has_it() -> None:
    catalogue = Catalogue([entry("a", "go"), entry("b", "go"), entry("b", "stop")])
    assert {found.upstream for found in catalogue.bare("tool", "go", "")} == {"a", "b"}
    assert len(catalogue.bare("tool", "stop", "")) == 1
