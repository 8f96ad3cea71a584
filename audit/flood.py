"""Denials in bulk: over a principal's limit they become one counted event a window."""

from collections.abc import Callable
from time import monotonic
from typing import Final

import msgspec

from audit.events import Event
from mcphub.core.clock import epoch_us

WINDOW_S: Final = 60.0
LIMIT: Final = 60
MOST_PRINCIPALS: Final = 10_000


_Who = tuple[str, int]


class _Window(msgspec.Struct):
    ends: float
    seen: int = 0
    held: int = 0
    last: Event | None = None


class Denials:
    """Passes the first `LIMIT` denials of a principal in a window (or as many as is said) on, counts the rest.

    The count is recorded (`details.denials`, `details.window_s`) by the first `sweep` after the window's end. Belongs
    to one thread.
    """

    def __init__(self, record: Callable[[Event], None], now: Callable[[], float] = monotonic) -> None:
        self._record: Final = record
        self._now: Final = now
        self._windows: Final[dict[_Who, _Window]] = {}

    def add(self, event: Event, most: int = LIMIT) -> None:
        """Take note of a denial; those with another limit have windows of their own."""
        now = self._now()
        who = (event.principal_id or event.source, most)
        window = self._windows.get(who)
        if window is None or now >= window.ends:
            self._close(who)
            if len(self._windows) >= MOST_PRINCIPALS:
                self._close(next(iter(self._windows)))
            window = self._windows[who] = _Window(ends=now + WINDOW_S)
        window.seen += 1
        if window.seen <= most:
            self._record(event)
        else:
            window.held += 1
            window.last = event

    def sweep(self) -> None:
        """Record the counts of windows that ended; call it every few seconds."""
        now = self._now()
        for who in [who for who, window in self._windows.items() if now >= window.ends]:
            self._close(who)

    def close(self) -> None:
        """Record every count, ended or not: the process stops."""
        for who in list(self._windows):
            self._close(who)

    def _close(self, who: _Who) -> None:
        window = self._windows.pop(who, None)
        if window is not None and window.last is not None:
            details = {"denials": window.held, "window_s": WINDOW_S}
            self._record(
                msgspec.structs.replace(window.last, at=epoch_us(), call_id="", payload=b"", details=details)
            )
