"""Keys that are guessed: a source that presents too many bad ones is told to wait (F50).

A good key passes whatever its source has done before, so that nobody can shut out a neighbour.
"""

from mcphub.core import clock
from mcphub.core.limits import Limits
from mcphub.core.peer import neighbourhood

MOST_SOURCES = 10_000


class Guesses:
    """Bad keys by source, in windows that begin with the first one. In memory, for one process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._windows: dict[str, tuple[float, int]] = {}

    def wait(self, source: str) -> int:
        """The seconds that this source has to wait after too many bad ones; nothing is counted."""
        ends, count = self._windows.get(neighbourhood(source), (0.0, 0))
        left = ends - clock.monotonic()
        return int(left) + 1 if left > 0 and count > self._limits.key_attempts else 0

    def failed(self, source: str) -> int:
        """Count one bad key; the seconds to wait, 0 while there were not too many."""
        source = neighbourhood(source)
        now = clock.monotonic()
        ends, count = self._windows.pop(source, (0.0, 0))
        if now >= ends:
            ends, count = now + self._limits.key_window_s, 0
        while len(self._windows) >= MOST_SOURCES:
            del self._windows[next(iter(self._windows))]
        self._windows[source] = (ends, count + 1)
        return int(ends - now) + 1 if count >= self._limits.key_attempts else 0
