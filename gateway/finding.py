"""Tool search: a toolset's clients are listed two tools in place of many, one that finds and one that calls.

What `find_tools` shows is what the principal's list would hold; `call_tool` is a call of the tool that it names, by
the one path that every call takes.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from gateway import relay
from gateway.catalogue import Entry
from gateway.errors import INVALID_PARAMS
from gateway.router import Reach
from gateway.toolindex import CHUNK, ToolIndex
from gateway.types import Reply, Request
from gateway.views import View, build, render, shown_name
from mcphub.core import aio
from policies.types import Risk
from upstreams.errors import RpcError

METHOD: Final = "tools/call"
FIND: Final = "find_tools"
CALL: Final = "call_tool"
DEFAULT_LIMIT: Final = 10
MOST: Final = 50
QUERY_CHARS: Final = 1_000
UPSTREAMS_NAMED: Final = 20

FIND_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "What the tool should do, in a few words."},
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
    },
    "required": ["query"],
}
CALL_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": f"A name that {FIND} gave."},
        "arguments": {"type": "object", "description": "Arguments as the tool's inputSchema says."},
    },
    "required": ["name"],
}
MakeCall = Callable[[Request, Reply, Reach], Awaitable[None]]

READ_ONLY: Final = {"readOnlyHint": True, "openWorldHint": False}


def is_asked(reach: Reach) -> bool:
    """Whether this route lists a search in place of its tools."""
    return reach.subset is not None and reach.subset.search != ""


def view(reach: Reach) -> View:
    """The list of two tools. The first says what is behind it, so that a model knows when to look."""
    behind = Counter(entry.upstream for entry in reach.visible("tool"))
    named = ", ".join(f"{slug} ({count})" for slug, count in sorted(behind.items())[:UPSTREAMS_NAMED])
    more = f" and {len(behind) - UPSTREAMS_NAMED} more" if len(behind) > UPSTREAMS_NAMED else ""
    hint = f"Finds tools by what they do, among {behind.total()} of: {named}{more}." if behind else "Finds tools."
    described = (
        {"name": CALL, "description": f"Calls a tool that {FIND} has found.", "inputSchema": CALL_SCHEMA},
        {"name": FIND, "description": hint, "inputSchema": FIND_SCHEMA, "annotations": READ_ONLY},
    )
    entries = [_entry(each) for each in described]
    return build("tool", entries, own_names=True, revision="")


def _entry(described: Mapping[str, Any]) -> Entry:
    name = str(described["name"])
    return Entry("tool", "", "", name, name, relay.encode(described), Risk.READ)


def unfolded(request: Request) -> Request | None:
    """A `call_tool` as the call that it stands for, any other request as it is; None when it names no tool."""
    if request.params.get("name") != CALL:
        return request
    given = request.params.get("arguments")
    name = given.get("name") if isinstance(given, dict) else None
    arguments = given.get("arguments", {}) if isinstance(given, dict) else None
    if not isinstance(name, str) or not isinstance(arguments, dict) or name in (CALL, FIND):
        return None
    return msgspec.structs.replace(
        request, params={**request.params, "name": name, "arguments": arguments}, param_headers={}
    )


class Finder:
    """Answers the two tools. The index of an org is made when it is first searched, and anew after a change."""

    def __init__(self) -> None:
        self._indexes: dict[str, tuple[object, ToolIndex]] = {}

    async def call(self, request: Request, reply: Reply, reach: Reach, call: MakeCall) -> None:
        """Find, or make the call that is meant, with `call`."""
        if request.params.get("name") == FIND:
            await self._find(request, reply, reach)
        elif (meant := unfolded(request)) is not None:
            await call(meant, reply, reach)
        else:
            reply.error(RpcError(INVALID_PARAMS, f"{CALL} takes the name of a tool and its arguments, an object"))

    async def _find(self, request: Request, reply: Reply, reach: Reach) -> None:
        """Answer with the definitions that fit best, of those that the principal may see on this route."""
        given = request.params.get("arguments")
        asked = _asked(given if isinstance(given, dict) else {})
        if isinstance(asked, str):
            reply.error(RpcError(INVALID_PARAMS, asked))
            return
        query, limit = asked
        found = await self._search(reach, query, limit)
        shown = [json.loads(render(each, shown_name(each, False, frozenset()), request.revision)) for each in found]
        text = json.dumps({"tools": shown}, ensure_ascii=False, separators=(",", ":"))
        raw = relay.encode({"content": [{"type": "text", "text": text}]})
        reply.result(relay.to_modern(raw) if request.era == "modern" else raw)

    async def _search(self, reach: Reach, query: str, limit: int) -> list[Entry]:
        index = await self._index_of(reach)
        found: list[Entry] = []
        offset = 0
        while len(found) < limit:
            page = await aio.in_thread(index.search, query, reach.principal.id, offset)
            found += [entry for entry in page if reach.is_visible(entry)]
            if len(page) < CHUNK:
                break
            offset += CHUNK
        return found[:limit]

    async def _index_of(self, reach: Reach) -> ToolIndex:
        org_id, catalogue = reach.snapshot.org.id, reach.snapshot.catalogue
        known = self._indexes.get(org_id)
        if known is not None and known[0] is catalogue:
            return known[1]
        index = await aio.in_thread(ToolIndex, catalogue.everything("tool"))
        self._indexes[org_id] = (catalogue, index)
        return index


def _asked(given: Mapping[str, Any]) -> tuple[str, int] | str:
    """Query and limit, or what is wrong with them."""
    query, limit = given.get("query"), given.get("limit", DEFAULT_LIMIT)
    if not isinstance(query, str) or not query.strip() or len(query) > QUERY_CHARS:
        return f"query must be a text of 1 to {QUERY_CHARS} characters"
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST:
        return f"limit must be a number from 1 to {MOST}"
    return query, limit
