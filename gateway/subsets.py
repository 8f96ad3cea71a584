"""What a toolset, or the client's own `?tools=`, leaves of a route: never more than policy gives. No I/O."""

from typing import Final

from gateway.catalogue import Catalogue, Entry
from gateway.snapshot import OrgSnapshot
from gateway.types import NotFound, Route
from policies.globs import Globs
from policies.types import Kind

MAX_SUBSETS: Final = 500
NAMED: Final[tuple[Kind, ...]] = ("tool", "prompt")


class Subset:
    """Names that every one of several sets of globs matches. Resources are there with their upstream's names.

    `key` tells it from every other subset of the same snapshot; `search` is the name of a toolset whose clients
    are listed a search in its place, "" for none.
    """

    def __init__(self, key: str, globs: tuple[Globs, ...], *, own_names: bool, search: str) -> None:
        self.key: Final = key
        self.search: Final = search
        self._globs = globs
        self._own_names = own_names
        self._included: dict[tuple[str, str], bool] = {}

    def names(self, entry: Entry) -> bool:
        """Whether a tool or prompt is in the subset, by the name that clients are listed."""
        name = entry.own if self._own_names else entry.public
        return all(globs.match(name) for globs in self._globs)

    def includes(self, catalogue: Catalogue, upstream_id: str, holder: str) -> bool:
        """Whether a tool or prompt of this upstream is in the subset, for this principal."""
        key = (upstream_id, holder if catalogue.has_personal(holder) else "")
        found = self._included.get(key)
        if found is None:
            listed = (entry for kind in NAMED for entry in catalogue.listed(kind, holder, upstream_id))
            found = self._included[key] = any(map(self.names, listed))
        return found


def subset_of(snapshot: OrgSnapshot, route: Route, *, own_names: bool) -> Subset:
    """The subset of a route that names a toolset, or tools. Raises `NotFound` for a toolset that is not there."""
    key = (route.toolset, route.tools, own_names)
    found: Subset | None = snapshot.subsets.get(key)
    if found is None:
        if len(snapshot.subsets) >= MAX_SUBSETS:
            snapshot.subsets.clear()
        found = snapshot.subsets[key] = _made(snapshot, route, own_names)
    return found


def _made(snapshot: OrgSnapshot, route: Route, own_names: bool) -> Subset:
    globs, search = [], ""
    if route.toolset:
        toolset = snapshot.toolsets.get(route.toolset)
        if toolset is None:
            raise NotFound
        globs.append(Globs.of(toolset.tools) if toolset.tools else NONE)
        search = toolset.name if toolset.search else ""
    if route.tools:
        globs.append(Globs.of(tuple(route.tools.split(","))))
    return Subset(f"{route.toolset}?{route.tools}", tuple(globs), own_names=own_names, search=search)


NONE: Final = Globs.literally("")
"""A toolset without globs has nothing in it: in rules, no globs at all mean anything."""
