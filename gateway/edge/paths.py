"""Which MCP endpoint a path names, by its syntax alone."""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs

from gateway.types import Route
from mcphub.core.ids import SLUG_PATTERN
from mcphub.core.names import RESERVED

_UPSTREAM: Final = r"[^/\x00-\x1f\x7f]{1,128}"
_NAMED: Final = rf"/(?!(?:{'|'.join(sorted(RESERVED))})/)(?P<upstream>{_UPSTREAM})"
LONGEST: Final = 512
"""Characters; no endpoint has a longer path, and none is remembered."""

GLOB: Final = re.compile(r"[A-Za-z0-9_.*?-]{1,64}")
MOST_GLOBS: Final = 64
LONGEST_QUERY: Final = 4096

_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        r"/(?:mcp)",
        rf"/mcp/(?P<org>{SLUG_PATTERN})",
        rf"/mcp/(?P<org>{SLUG_PATTERN})/t/(?P<toolset>{SLUG_PATTERN})",
        rf"/mcp/(?P<org>{SLUG_PATTERN})/(?P<upstream>{_UPSTREAM})",
        rf"{_NAMED}/mcp",
        rf"(?:{_NAMED})?/(?P<wire>sse|messages)",
    )
)


def parse(path: str) -> Route | None:
    """The endpoint at `path` (decoded), or None when the path is none. One trailing slash is ignored.

    An upstream part may be a slug or the name that it had in an imported file. The two paths of HTTP+SSE are one
    endpoint, named by the one that its clients are given.
    """
    return _parsed(path) if len(path) <= LONGEST else None


@lru_cache(maxsize=4096)
def narrowed(route: Route, query: bytes) -> Route:
    """The endpoint with what `?tools=` leaves of it: globs over names, with commas between. Raises `ValueError`."""
    if len(query) > LONGEST_QUERY:
        raise ValueError("The query is too long")
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("tools")
    if given is None:
        return route
    globs = sorted({glob.strip() for part in given for glob in part.split(",")} - {""})
    if not globs or len(globs) > MOST_GLOBS or not all(map(GLOB.fullmatch, globs)):
        raise ValueError(f"tools takes 1 to {MOST_GLOBS} names with * and ? in them, and commas between")
    return replace(route, tools=",".join(globs))


@lru_cache(maxsize=4096)
def _parsed(path: str) -> Route | None:
    own = path.removesuffix("/")
    for form in _FORMS:
        if found := form.fullmatch(own):
            return _route(own, **{name: part for name, part in found.groupdict().items() if part})
    return None


def _route(path: str, org: str = "", upstream: str = "", toolset: str = "", wire: str = "") -> Route:
    if wire:
        named = f"/{upstream}/sse" if upstream else "/sse"
        return Route(
            "upstream" if upstream else "aggregate",
            upstream=upstream,
            path=named,
            wire="sse" if wire == "sse" else "messages",
        )
    if toolset:
        return Route("toolset", org, toolset=toolset, path=path)
    if upstream:
        return Route("upstream", org, upstream, path=path)
    return Route("org" if org else "aggregate", org, path=path)
