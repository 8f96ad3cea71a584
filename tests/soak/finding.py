"""What a long proof hands back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was `done`, what was `seen` (figures, in words), and every contradiction to a promise, in words."""

    done: str
    seen: str
    faults: tuple[str, ...] = ()
