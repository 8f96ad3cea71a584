"""Resources as upstreams list them now: newer than the stored catalogue, which holds what discovery found."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.catalogue import Entry

Key = tuple[str, str]
"""Upstream id, and the principal who was listed it ("" = everybody)."""


class LiveTable:
    """The last live list of each upstream and holder. `version` rises whenever one of them changes."""

    def __init__(self) -> None:
        self.version = 0
        self.on_change: Callable[[], None] = _nobody
        self._lists: Final[dict[Key, Mapping[str, Entry]]] = {}
        self._called: Final[dict[str, set[Key]]] = {}

    def list_of(self, upstream_id: str, holder: str) -> Mapping[str, Entry] | None:
        """URI → entry, as listed last; None when it was not listed since the catalogue was read."""
        return self._lists.get((upstream_id, holder))

    def called(self, uri: str) -> Iterable[Entry]:
        """Every entry with this URI, of every upstream and holder."""
        return [self._lists[key][uri] for key in self._called.get(uri, ())]

    def put(self, upstream_id: str, holder: str, entries: Iterable[Entry]) -> None:
        """Keep a list."""
        key, new = (upstream_id, holder), {entry.name: entry for entry in entries}
        if self._lists.get(key) == new:
            return
        self._drop(key)
        self._lists[key] = new
        for uri in new:
            self._called.setdefault(uri, set()).add(key)
        self.version += 1
        self.on_change()

    def forget(self, upstream_id: str) -> None:
        """The stored catalogue is the newer one, or about to be."""
        for key in [key for key in self._lists if key[0] == upstream_id]:
            self._drop(key)
            self.version += 1

    def _drop(self, key: Key) -> None:
        for uri in self._lists.pop(key, ()):
            keys = self._called[uri]
            keys.discard(key)
            if not keys:
                del self._called[uri]


def _nobody() -> None:
    return None
