"""One clock for all responses under way, so that a short one costs no task and no timer of its own."""

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Final, Protocol

from mcphub.core import clock

TICK_S: Final = 0.1
RECHECK_S: Final = 2.5


class Beating(Protocol):
    """A response, or another connection, that is under way."""

    home: "set[Beating] | None"

    @property
    def still_allowed(self) -> Callable[[], bool] | None:
        """What to ask every few seconds of something that outlives a request's authorisation."""

    def settle(self, now: float) -> None:
        """This takes a while."""

    def beat(self, now: float) -> None:
        """Some seconds have gone."""

    def dismiss(self) -> None:
        """The hub ends this."""


class Pulse:
    """Ticks while anything is under way. A response that is still there after a whole tick is settled;
    from then on it is visited every `RECHECK_S` seconds (sooner when keep-alives are due sooner).
    """

    def __init__(self, keepalive_s: float) -> None:
        rounds = max(1, int(min(RECHECK_S, keepalive_s / 2) / TICK_S))
        self._visited: list[set[Beating]] = [set() for _ in range(rounds)]
        self._young: set[Beating] = set()
        self._aging: set[Beating] = set()
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: Beating) -> None:
        """`one` is under way."""
        one.home = young = self._young
        young.add(one)
        if self._timer is None:
            self._wait()

    def discard(self, one: Beating) -> None:
        """`one` is over."""
        if one.home is not None:
            one.home.discard(one)

    def under_way(self) -> int:
        """How many responses are."""
        return len(self._young) + len(self._aging) + sum(map(len, self._visited))

    def dismiss_long_lived(self) -> None:
        """End what would go on for ever: the streams whose principal is asked about again and again."""
        for one in list(chain(self._young, self._aging, *self._visited)):
            if one.still_allowed is not None:
                one.dismiss()

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
        for one in list(visited):
            one.beat(now)
        for one in self._aging:
            one.settle(now)
            one.home = visited
        visited |= self._aging
        self._aging, self._young = self._young, set()
        if self.under_way():
            self._wait()
        else:
            self._timer = None
