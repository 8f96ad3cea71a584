"""The words for a call whose end is not known."""

from typing import Final

from upstreams.errors import Lost

MAY_HAVE_RUN: Final = "The call may have taken effect."


def lost_because(text: str) -> Lost:
    """A `Lost` for a call that had been sent."""
    return Lost(f"{text} {MAY_HAVE_RUN}")
