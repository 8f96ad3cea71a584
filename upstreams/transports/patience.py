"""How long one exchange may take."""

import asyncio
from types import TracebackType
from typing import Final, Self

from upstreams.errors import TimedOut

TICK_S: Final = 0.05
"""How late a limit may be noticed, in seconds."""


class Patience:
    """Ends the task in its block after `soft_s` without a sign of life, or after `hard_s` in all, with `TimedOut`.

    While the upstream waits for the client (`paused`) only the hard limit runs.
    """

    __slots__ = ("_cancelling", "_hard_at", "_loop", "_paused", "_soft_s", "_task", "_watch", "due_at", "expired")

    def __init__(self, soft_s: float, hard_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._soft_s = soft_s
        self._hard_at = now + hard_s
        self._paused = 0
        self.due_at = min(now + soft_s, self._hard_at)
        self.expired = False

    def alive(self) -> None:
        """The upstream gave a sign of life."""
        if not self._paused:
            self.due_at = min(self._loop.time() + self._soft_s, self._hard_at)

    def pause(self) -> None:
        """The upstream has asked the client something."""
        self._paused += 1
        self.due_at = self._hard_at

    def resume(self) -> None:
        """The client has answered."""
        self._paused -= 1
        self.alive()

    def expire(self) -> None:
        """It is over: cancel the task."""
        self.expired = True
        self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._watch = _watch_of(self._loop)
        self._watch.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.discard(self)
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimedOut("The upstream did not answer in time.") from None


class _Watch:
    """One timer for all exchanges of a loop: a timer for each would cost as much as sending its request."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._watched: set[Patience] = set()
        self._ticking = False

    def add(self, patience: Patience) -> None:
        self._watched.add(patience)
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(TICK_S, self._tick)

    def discard(self, patience: Patience) -> None:
        self._watched.discard(patience)

    def _tick(self) -> None:
        now = self.loop.time()
        for patience in [each for each in self._watched if each.due_at <= now]:
            self._watched.discard(patience)
            patience.expire()
        self._ticking = bool(self._watched)
        if self._ticking:
            self.loop.call_later(TICK_S, self._tick)


_newest: _Watch | None = None


def _watch_of(loop: asyncio.AbstractEventLoop) -> _Watch:
    """The watch of this loop; a process has one loop at a time, which a test may replace."""
    global _newest
    if _newest is None or _newest.loop is not loop:
        _newest = _Watch(loop)
    return _newest
