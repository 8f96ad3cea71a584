"""Globs: `*` is any run of characters, `?` any single one, all else is literal. Linear time, case-sensitive."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Self

_WILD: Final = re.compile(r"[*?]")


class Globs:
    """Alternatives of one dimension of a rule; none at all means any text."""

    __slots__ = ("any", "exact", "wild")

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        given = tuple(dict.fromkeys(patterns))
        self.any = not given or "*" in given
        self.exact = frozenset(item for item in given if not _WILD.search(item))
        self.wild = () if self.any else tuple(Glob(item) for item in given if item not in self.exact)

    @classmethod
    @lru_cache(maxsize=16_384)
    def of(cls, patterns: tuple[str, ...]) -> Self:
        """The same as the constructor, shared between rules and calls that name the same patterns."""
        return cls(patterns)

    @classmethod
    def literally(cls, text: str) -> Self:
        """Matches `text` alone, whatever characters it is made of."""
        found = cls(("",))
        found.exact = frozenset({text})
        return found

    def match(self, text: str) -> bool:
        """Whether any alternative matches the whole of `text`."""
        return self.any or text in self.exact or any(glob.match(text) for glob in self.wild)

    def match_one(self, texts: frozenset[str]) -> bool:
        """Whether any alternative matches any of `texts`; true for "any" even when there are none."""
        if self.any or not self.exact.isdisjoint(texts):
            return True
        return any(glob.match(text) for glob in self.wild for text in texts)

    def covers(self, other: "Globs") -> bool:
        """Whether everything that `other` matches is certainly matched here too (may miss odd cases)."""
        if self.any or other.any:
            return self.any
        texts = (*other.exact, *(glob.pattern for glob in other.wild))
        return all(text in self.exact or any(glob.covers(text) for glob in self.wild) for text in texts)


class Glob:
    """One pattern that holds a wildcard; `prefix` and `suffix` are its literal ends."""

    __slots__ = ("middle", "pattern", "prefix", "questions", "suffix")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.questions = "?" in pattern
        parts = _WILD.split(pattern)
        self.prefix, self.suffix = parts[0], parts[-1]
        self.middle = tuple(filter(None, parts[1:-1]))

    def match(self, text: str) -> bool:
        if not text.startswith(self.prefix):
            return False
        if self.questions:
            return _regex(self.pattern).fullmatch(text) is not None
        at, end = len(self.prefix), len(text) - len(self.suffix)
        if at > end or not text.endswith(self.suffix):
            return False
        for part in self.middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    def covers(self, pattern: str) -> bool:
        """Whether this matches whatever `pattern` matches. A `?` here could not stand for a `*` there."""
        return pattern == self.pattern or (not (self.questions and "*" in pattern) and self.match(pattern))


@lru_cache(maxsize=16_384)
def _regex(pattern: str) -> re.Pattern[str]:
    """Runs between stars match at their first place and are never tried again: no backtracking."""
    first, *runs = (re.escape(run).replace(r"\?", ".") for run in pattern.split("*"))
    if not runs:
        return re.compile(first, re.DOTALL)
    *middle, last = runs
    return re.compile(first + "".join(f"(?>.*?{run})" for run in middle) + ".*" + last, re.DOTALL)
