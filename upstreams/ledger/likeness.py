"""Names that pass for other names. Pure.

Two names look alike when their skeletons are equal (UTS #39 section 4): every character replaced by the plain
letter that it could be taken for, case and separators left out.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

SEPARATORS: Final = str.maketrans("", "", "_-. /:")
DIGITS: Final = str.maketrans("0135", "oles")
STEMS: Final = str.maketrans("i", "l")


@lru_cache(maxsize=4096)
def skeleton(name: str) -> str:
    """What a reader could take the name for."""
    plain = "".join(map(_plain, unicodedata.normalize("NFKC", name))).lower()
    return plain.translate(SEPARATORS).translate(DIGITS).translate(STEMS).replace("rn", "m").replace("vv", "w")


def _plain(char: str) -> str:
    if char.isascii():
        return char
    if unicodedata.category(char) == "Cf":
        return ""
    from confusable_homoglyphs.confusables import confusables_data  # a tenth of a second, and hardly ever needed

    found: Iterable[Mapping[str, str]] = confusables_data.get(char, ())
    return next((each["c"] for each in found if each["c"].isascii()), char)


def looks_like(name: str, other: str) -> bool:
    """Whether a reader could take one name for the other; equal names are no deceit, and namespaced anyway."""
    return skeleton(name) == skeleton(other) and _spelled(name) != _spelled(other)


def _spelled(name: str) -> str:
    """`getUser` and `get_user` are habits of spelling, not likenesses."""
    return name.translate(SEPARATORS).lower()


def likeness(name: str, others: Iterable[str]) -> str:
    """The first of `others` that the name passes for; "" when there is none."""
    return next((other for other in others if looks_like(name, other)), "")
