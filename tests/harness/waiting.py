"""Waiting for what another process does."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

STEP_S: Final = 0.02


def until(what: str, check: Callable[[], T], within: float = 30) -> T:
    """The first truthy value of `check`, asked again every few milliseconds.

    Raises `AssertionError` that says `what` did not happen, once `within` seconds are over.
    """
    deadline = time.monotonic() + within
    while not (value := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {within:g} s")
        time.sleep(STEP_S)
    return value
