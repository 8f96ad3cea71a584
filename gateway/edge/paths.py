"""Which MCP endpoint a path names, by its syntax alone."""

import re
from functools import lru_cache
from typing import Final

from gateway.types import Route
from mcphub.core.ids import SLUG_PATTERN
from mcphub.core.names import RESERVED

_UPSTREAM: Final = r"[^/\x00-\x1f\x7f]{1,128}"
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        r"/(?:mcp)",
        rf"/mcp/(?P<org>{SLUG_PATTERN})",
        rf"/mcp/(?P<org>{SLUG_PATTERN})/t/(?P<toolset>{SLUG_PATTERN})",
        rf"/mcp/(?P<org>{SLUG_PATTERN})/(?P<upstream>{_UPSTREAM})",
        rf"/(?!(?:{'|'.join(sorted(RESERVED))})/)(?P<upstream>{_UPSTREAM})/mcp",
    )
)


@lru_cache(maxsize=4096)
def parse(path: str) -> Route | None:
    """The endpoint at `path` (decoded), or None when the path is none. One trailing slash is ignored.

    An upstream part may be a slug or the name that it had in an imported file.
    """
    own = path.removesuffix("/")
    for form in _FORMS:
        if found := form.fullmatch(own):
            return _route(own, **found.groupdict())
    return None


def _route(path: str, org: str = "", upstream: str = "", toolset: str = "") -> Route:
    if toolset:
        return Route("toolset", org, toolset=toolset, path=path)
    if upstream:
        return Route("upstream", org, upstream, path=path)
    return Route("org" if org else "aggregate", org, path=path)
