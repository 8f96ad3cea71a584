"""How many long-lived streams and connections there may be, in all and for one principal."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import RATE_LIMITED, refused
from mcphub.core.limits import Limits

RETRY = ((b"retry-after", b"5"),)


class Places:
    """The places of one process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken: Counter[str] = Counter()
        self._total = 0

    @property
    def taken(self) -> int:
        """How many streams are open."""
        return self._total

    @contextmanager
    def hold(self, principal_id: str) -> Iterator[None]:
        """A place for the length of a stream. Raises `Refused`: 429 when this principal has its share, else 503."""
        if self._taken[principal_id] >= self._limits.principal_streams:
            message = f"{self._limits.principal_streams} streams of this principal are open already"
            raise refused(429, RATE_LIMITED, message, RETRY)
        if self._total >= self._limits.streams:
            raise refused(503, RATE_LIMITED, f"{self._limits.streams} streams are open here already", RETRY)
        self._taken[principal_id] += 1
        self._total += 1
        try:
            yield
        finally:
            self._total -= 1
            self._taken[principal_id] -= 1
            if not self._taken[principal_id]:
                del self._taken[principal_id]
