"""When to try again: growing pauses with jitter, and a breaker for calls."""

import random
from typing import Final

from mcphub.core import clock
from mcphub.core.limits import Limits
from upstreams.errors import BreakerOpen, UpstreamError, UpstreamFailed

FIRST_S: Final = 0.5


class Breaker:
    """Spares an upstream that fails, and finds out with one call at a time whether it works again.

    After a failure to connect it is open for at most `unreachable_s`: calls fail at once with that same error.
    After `breaker_failures` failures in a row it is open for at most `breaker_s`, with `BreakerOpen`. Then it is half
    open: one call goes through as the trial, and until that has ended (or `breaker_s` have passed) the others fail.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._run = 0
        self._open_until = 0.0
        self._trial_until = 0.0
        self._error: UpstreamError | None = None

    @property
    def tripped(self) -> bool:
        """Whether so many calls failed in a row that only trials go through."""
        return self._run >= self._limits.breaker_failures and not self._connecting

    @property
    def trouble(self) -> str:
        """The failures in a row and the last of them, in words; "" while calls go through."""
        if self._error is None or not self.tripped:
            return ""
        return f"{self._run} calls in a row failed; the last: {self._error.text}"

    def admit(self) -> None:
        """Let a call through, or raise what it must be told. The first after a pause is the trial."""
        if self._run and (self._connecting or self.tripped):
            self.spare()
            now = clock.monotonic()
            if now < self._trial_until:
                raise self._refusal(self._trial_until - now)
            self._trial_until = now + self._limits.breaker_s

    def spare(self) -> None:
        """Raise while the upstream is left alone altogether."""
        if self._run and (left := self._open_until - clock.monotonic()) > 0:
            raise self._refusal(left)

    def failed(self, error: UpstreamError) -> None:
        """Note a failure of the connection or of the upstream as a whole."""
        self._run += 1
        self._error = error
        self._trial_until = 0.0
        if self._connecting:
            self._open_until = clock.monotonic() + min(self.pause_s(), self._limits.unreachable_s)
        elif self.tripped:
            self._open_until = clock.monotonic() + min(self.pause_s(), self._limits.breaker_s)

    def undecided(self) -> None:
        """The call ended in a way that says nothing of the upstream as a whole: another may be the trial."""
        self._trial_until = 0.0

    def reached(self) -> None:
        """Note that it answers: lost and late calls were not its end. Answers that were failures still count."""
        if not isinstance(self._error, UpstreamFailed):
            self.worked()

    def worked(self) -> None:
        """Note a success."""
        if self._run:
            self._run = 0
            self._open_until = self._trial_until = 0.0

    def pause_s(self) -> float:
        """How long to wait before the next try in the background."""
        longest = min(self._limits.backoff_max_s, FIRST_S * (1 << min(self._run - 1, 10)))
        return longest * random.uniform(0.5, 1)

    @property
    def _connecting(self) -> bool:
        return self._error is not None and self._error.outcome == "not_sent"

    def _refusal(self, left_s: float) -> UpstreamError:
        if self._error is not None and self._connecting:
            return self._error.unsent(left_s)
        return BreakerOpen("The upstream failed several times in a row and is left alone.", retry_after=left_s)
