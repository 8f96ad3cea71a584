"""How often Python's cyclic garbage collector looks at a process that serves."""

import gc
from typing import Final

YOUNG: Final = 20_000
"""New containers before a look at the young ones; 64 calls under way hold about 7,000."""
ROUNDS: Final = (5, 5)
"""Of young ones to a middle one, and of these to a full one, which Python puts off while what is new is less than a
quarter of what it knows. What lived for a while before it became garbage, such as the connection of a client that
stayed, waits for that.
"""


def settle() -> None:
    """Take everything that lives now for permanent; to be called once, after the start.

    With Python's own thresholds each collection meets the calls that are under way, keeps them, and
    thereby comes soon to a full one, which walks all of Django: a fifth of the CPU of a busy worker, and
    pauses of a tenth of a second. What is made later is collected as ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *ROUNDS)
