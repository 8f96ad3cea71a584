"""One timer that can be set anew and taken back."""

import asyncio
from collections.abc import Callable
from typing import Final


class Deadline:
    """Calls an action once when its seconds are over, unless it was cleared or set anew before.

    `about` tells what it waits for now; "" when it is not set.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.about = ""
        self._loop: Final = loop
        self._timer: asyncio.TimerHandle | None = None

    def set(self, about: str, seconds: float, action: Callable[[], object]) -> None:
        """Start over, for `about`."""
        self.clear()
        self.about = about
        self._timer = self._loop.call_later(seconds, self._over, action)

    def clear(self) -> None:
        """Take it back; harmless when it is not set."""
        self.about = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self, action: Callable[[], object]) -> None:
        self.clear()
        action()
