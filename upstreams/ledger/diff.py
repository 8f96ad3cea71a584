"""Two versions of a definition side by side, as runs of text in which nothing stays hidden. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, Literal

from upstreams.ledger.texts import name_of, pieces

WORD: Final = re.compile(r"\s+|\w+|[^\w\s]")
WORDS_COMPARED: Final = 4_000
"""Longer texts are shown whole on both sides: comparing words costs their product."""

Mark = Literal["same", "gone", "new"]


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of text; `hidden` is the name of the character where it is one that people would not see."""

    text: str
    mark: Mark = "same"
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One place that differs: what stood there, and what stands there now; empty where there is nothing."""

    where: str
    old: tuple[Run, ...]
    new: tuple[Run, ...]


def rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Row, ...]:
    """Every value that differs, in the order of the old definition and then of what is new."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    places = [place for place in dict.fromkeys((*old, *new)) if old.get(place) != new.get(place)]
    return tuple(_row(place, old.get(place, ""), new.get(place, "")) for place in places)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _row(where: str, old: str, new: str) -> Row:
    ours, theirs = WORD.findall(old), WORD.findall(new)
    if not old or not new or max(len(ours), len(theirs)) > WORDS_COMPARED:
        return Row(where, tuple(runs(old, "gone")), tuple(runs(new, "new")))
    left: list[Run] = []
    right: list[Run] = []
    for verb, a, b, c, d in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        left += runs("".join(ours[a:b]), "same" if verb == "equal" else "gone")
        right += runs("".join(theirs[c:d]), "same" if verb == "equal" else "new")
    return Row(where, tuple(left), tuple(right))


def runs(text: str, mark: Mark) -> Iterator[Run]:
    """The text in runs, each hidden character one of its own with its name."""
    for piece, hidden in pieces(text):
        yield Run(piece, mark, name_of(piece) if hidden else "")
