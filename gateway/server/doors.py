"""How many connections a process takes, in all and from one address.

A connection costs a file descriptor, and a process that has none left can neither write its record nor reach an
upstream: so the doors close while there are some left.
"""

import resource
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from mcphub.core.limits import Limits
from mcphub.core.peer import neighbourhood, proxies

SPARE_FILES: Final = 128
"""Descriptors that connections of clients leave to the database, upstreams and children."""


class Doors:
    """Counts the open connections. `most` is the lower of the limit and of what descriptors allow."""

    def __init__(self, limits: Limits, trusted: Sequence[str], files: int) -> None:
        self.most: Final = min(limits.connections, max(1, files - SPARE_FILES))
        self._most_of_one: Final = limits.source_connections
        self._open: Final[Counter[str]] = Counter()
        self._total = 0
        self._is_trusted: Final = proxies(tuple(trusted)).trust
        self._neighbourhood: Final = lru_cache(maxsize=1024)(neighbourhood)

    def enter(self, source: str) -> int:
        """Count a connection from this address; 0, or the status to refuse it with. `leave` must follow either way.

        Trusted proxies speak for many and are bounded by the total alone, as is a Unix socket ("").
        """
        near = self._neighbourhood(source)
        self._total += 1
        self._open[near] += 1
        if self._total > self.most:
            return 503
        return 429 if self._open[near] > self._most_of_one and source and not self._is_trusted(source) else 0

    def leave(self, source: str) -> None:
        """The connection is gone."""
        near = self._neighbourhood(source)
        self._total -= 1
        self._open[near] -= 1
        if not self._open[near]:
            del self._open[near]


def open_doors(limits: Limits, trusted: Sequence[str] = ()) -> Doors:
    """The doors of this process, whose soft limit of open files is raised as far as they need and may.

    `trusted` holds the addresses and CIDRs of proxies.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return Doors(limits, trusted, wanted if soft == resource.RLIM_INFINITY else soft)
