"""Task ids in results, and resource URIs where this principal's view had to wrap them to keep them apart. No I/O."""

import json
from collections.abc import Callable
from typing import Any

from gateway import tasks
from gateway.calls import Call
from gateway.lists import view_of
from gateway.router import Reach
from gateway.views import wrap
from upstreams.types import MODERN

Rewrite = Callable[[str], str]


def rewrite(raw: bytes, call: Call, reach: Reach) -> bytes:
    """`raw` with every task id and URI that the client knows wrapped, wrapped; untouched when there is none."""
    if b'"taskId"' in raw:
        raw = tasks.wrapped(raw, call, reach)
    if reach.own_names or b'"uri"' not in raw:
        return raw
    upstream_id = call.spec.id
    own = {uri for owner, uri in view_of(reach, "resource", MODERN).wrapped if owner == upstream_id}
    if not own and call.shown_as == call.target.name:
        return raw

    def known(uri: str) -> str:
        return wrap(call.spec.slug, uri) if uri in own or wrap(call.spec.slug, uri) == call.shown_as else uri

    result = json.loads(raw)
    later = result.get("result")
    for content in _contents(result) + (_contents(later) if isinstance(later, dict) else []):
        if isinstance(content.get("uri"), str):
            content["uri"] = known(content["uri"])
    return json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()


def _contents(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object of a result that carries a resource's URI: contents, links, embedded resources."""
    blocks = [*result.get("contents", ()), *result.get("content", ())]
    blocks += [message.get("content") for message in result.get("messages", ()) if isinstance(message, dict)]
    found = [block for block in blocks if isinstance(block, dict)]
    return found + [block["resource"] for block in found if isinstance(block.get("resource"), dict)]
