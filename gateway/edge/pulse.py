"""One clock for all responses under way, so that a short one costs no task and no timer of its own."""

import asyncio
from itertools import chain
from typing import Final

from gateway.edge.outlet import Outlet
from mcphub.core import clock

TICK_S: Final = 0.1
RECHECK_S: Final = 2.5


class Pulse:
    """Ticks while anything is under way. A response that is still there after a whole tick is settled;
    from then on it is visited every `RECHECK_S` seconds (sooner when keep-alives are due sooner).
    """

    def __init__(self, keepalive_s: float) -> None:
        rounds = max(1, int(min(RECHECK_S, keepalive_s / 2) / TICK_S))
        self._visited: list[set[Outlet]] = [set() for _ in range(rounds)]
        self._young: set[Outlet] = set()
        self._aging: set[Outlet] = set()
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, outlet: Outlet) -> None:
        """`outlet` is under way."""
        outlet.home = young = self._young
        young.add(outlet)
        if self._timer is None:
            self._wait()

    def discard(self, outlet: Outlet) -> None:
        """`outlet` is over."""
        if outlet.home is not None:
            outlet.home.discard(outlet)

    def under_way(self) -> int:
        """How many responses are."""
        return len(self._young) + len(self._aging) + sum(map(len, self._visited))

    def dismiss_long_lived(self) -> None:
        """End what would go on for ever: the streams whose principal is asked about again and again."""
        for outlet in list(chain(self._young, self._aging, *self._visited)):
            if outlet.still_allowed is not None:
                outlet.dismiss()

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = clock.monotonic()
        self._turn = (self._turn + 1) % len(self._visited)
        visited = self._visited[self._turn]
        for outlet in list(visited):
            outlet.beat(now)
        for outlet in self._aging:
            outlet.settle(now)
            outlet.home = visited
        visited |= self._aging
        self._aging, self._young = self._young, set()
        if self.under_way():
            self._wait()
        else:
            self._timer = None
