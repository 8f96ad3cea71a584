"""When to try again: growing pauses with jitter, and a breaker for calls."""

import random
from typing import Final

from mcphub.core import clock
from upstreams.errors import BreakerOpen, Unreachable, UpstreamError, UpstreamFailed

FIRST_S: Final = 0.5
FAILURES: Final = 5
CALL_PAUSE_S: Final = 2.0
BREAKER_PAUSE_S: Final = 10.0


class Breaker:
    """Counts failures in a row.

    After a failure to connect, calls fail at once for a moment with that same error; after `FAILURES`
    answers in a row that were failures, with `BreakerOpen`. The next call after the pause is the trial.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._run = 0
        self._open_until = 0.0
        self._error: UpstreamError | None = None

    def check(self) -> None:
        """Raise while calls are to be spared."""
        if self._run and (left := self._open_until - clock.monotonic()) > 0:
            if self._error is not None and self._error.outcome == "not_sent":
                raise _with_notes(
                    type(self._error)(self._error.text, outcome="not_sent", retry_after=left), self._error
                )
            raise BreakerOpen("The upstream failed several times in a row and is left alone.", retry_after=left)

    def failed(self, error: UpstreamError) -> None:
        """Note a failure of the connection or of the upstream as a whole."""
        self._run += 1
        self._error = error
        if error.outcome == "not_sent":
            self._open_until = clock.monotonic() + min(self.pause_s(), CALL_PAUSE_S)
        elif self._run >= FAILURES:
            self._open_until = clock.monotonic() + min(self.pause_s(), BREAKER_PAUSE_S)

    def reached(self) -> None:
        """Note that it answers: lost and late calls were not its end. Answers that were failures still count."""
        if not isinstance(self._error, UpstreamFailed):
            self.worked()

    def worked(self) -> None:
        """Note a success."""
        if self._run:
            self._run = 0
            self._open_until = 0.0

    def pause_s(self) -> float:
        """How long to wait before the next try in the background."""
        longest = min(self._most_s, FIRST_S * (1 << min(self._run - 1, 10)))
        return longest * random.uniform(0.5, 1)


def unsent(error: UpstreamError) -> UpstreamError:
    """`error` as it looks to a call whose connection could not even be made."""
    if error.outcome == "not_sent":
        return error
    lost = error.reason == "lost"
    made = Unreachable(error.text) if lost else type(error)(error.text, outcome="not_sent")
    return _with_notes(made, error)


def _with_notes(made: UpstreamError, error: UpstreamError) -> UpstreamError:
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made
