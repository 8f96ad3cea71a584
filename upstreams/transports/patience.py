"""How long one exchange may take."""

import asyncio
from types import TracebackType
from typing import Self

from upstreams.errors import TimedOut
from upstreams.transports.losses import MAY_HAVE_RUN


class Patience:
    """Ends an exchange after `soft_s` without a sign of life, or after `hard_s` in all, with `TimedOut`.

    While the upstream waits for the client (`paused`) only the hard limit runs.
    """

    __slots__ = ("_hard_at", "_loop", "_paused", "_soft_s", "_timer")

    def __init__(self, soft_s: float, hard_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._soft_s = soft_s
        self._hard_at = now + hard_s
        self._paused = 0
        self._timer = asyncio.timeout_at(min(now + soft_s, self._hard_at))

    def alive(self) -> None:
        """The upstream gave a sign of life."""
        if not self._paused and not self._timer.expired():
            self._timer.reschedule(min(self._loop.time() + self._soft_s, self._hard_at))

    def pause(self) -> None:
        """The upstream has asked the client something."""
        self._paused += 1
        if not self._timer.expired():
            self._timer.reschedule(self._hard_at)

    def resume(self) -> None:
        """The client has answered."""
        self._paused -= 1
        self.alive()

    async def __aenter__(self) -> Self:
        await self._timer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timer.__aexit__(kind, error, trace)
        except TimeoutError:
            raise TimedOut(f"The upstream did not answer in time. {MAY_HAVE_RUN}") from None
