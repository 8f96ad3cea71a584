"""Characters that people do not see and models do, and words that speak to the model. Pure.

Invisible are format characters, bidirectional controls, tag characters, fillers and escapes: Unicode categories Cf,
Cc, Co and Cn, with the few that ordinary writing needs (UTS #39, UAX #9).
"""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

import re2

WHITESPACE: Final = frozenset("\n\r\t")
INVISIBLE: Final = frozenset({"Cf", "Cc", "Co", "Cn", "Cs", "Zl", "Zp"})
BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u180b\u180c\u180d\u180f")
"""Letters and marks that are drawn as nothing."""
SUPPLEMENTARY_SELECTORS: Final = range(0xE0100, 0xE01F0)
JOINERS: Final = frozenset("\u200c\u200d")
JOINED: Final = frozenset({"So", "Sk", "Lo", "Mn", "Mc"})
"""What joiners may stand between: emoji, and letters of scripts that join."""
EMOJI_STYLE: Final = "\ufe0f"

TO_THE_MODEL: Final = tuple(
    re2.compile(pattern)
    for pattern in (
        r"(?i)\b(ignore|disregard|forget|override)\b.{0,40}\b(previous|prior|above|earlier|all|other|any)\b.{0,40}"
        r"\b(instruction|prompt|rule|message|tool|context)",
        r"(?i)\b(do not|don't|never|without)\b.{0,30}\b(tell|mention|inform|notify|show|reveal|ask|warn|alert|"
        r"telling|mentioning|informing|asking)\b.{0,30}\b(user|human|person|operator|anyone)",
        r"(?i)<\s*/?\s*(important|system|secret|instructions?|hidden|admin|assistant|critical)\s*>",
        r"(?i)\b(before|after|whenever|every time)\b.{0,30}\b(using|calling|you (use|call)|any|other)\b.{0,40}"
        r"\b(tool|function)s?\b.{0,60}\b(must|always|first|call|read|send|pass)",
        r"(?i)\b(you|the (model|assistant|agent|llm|ai))\s+(must|shall|have to|are required to)\b.{0,60}"
        r"\b(always|first|never|instead|send|include|read|call)",
        r"(?i)\b(read|open|cat|include|send|attach|paste|upload)\b.{0,60}"
        r"(\.ssh|id_rsa|\.env\b|/etc/passwd|mcp\.json|credentials|private key|api[ _-]?keys?|system prompt)",
        r"(?i)\b(system|developer) prompt\b",
    )
)
"""Phrases by which descriptions try to steer the model; each is a reason to look, none a proof."""

EXCERPT: Final = 120


def texts_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text inside a JSON value with its path, names of members included."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else str(name)
            yield here, str(name)
            yield from texts_of(inner, here)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from texts_of(inner, f"{path}[{number}]")


def is_hidden(text: str, at: int) -> bool:
    """Whether the character at this place cannot be seen, and ordinary writing does not need it there."""
    char = text[at]
    if char.isascii():
        return char not in WHITESPACE and (char < " " or char == "\x7f")
    if char in JOINERS:
        return not _joins(text, at)
    if char == EMOJI_STYLE:
        return False
    return unicodedata.category(char) in INVISIBLE or char in BLANK or ord(char) in SUPPLEMENTARY_SELECTORS


def _joins(text: str, at: int) -> bool:
    around = (text[at - 1 : at].replace(EMOJI_STYLE, text[at - 2 : at - 1]), text[at + 1 : at + 2])
    return all(side and unicodedata.category(side) in JOINED for side in around)


def hidden_in(text: str) -> tuple[str, ...]:
    """The names of the hidden characters of a text, each once, in order."""
    if text.isascii() and text.isprintable():
        return ()
    return tuple(dict.fromkeys(name_of(text[at]) for at in range(len(text)) if is_hidden(text, at)))


def name_of(char: str) -> str:
    """`U+202E RIGHT-TO-LEFT OVERRIDE`."""
    return f"U+{ord(char):04X} {unicodedata.name(char, 'CONTROL CHARACTER')}"


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in runs, each with whether it is one hidden character."""
    plain = ""
    for at, char in enumerate(text):
        if not is_hidden(text, at):
            plain += char
            continue
        if plain:
            yield plain, False
        plain = ""
        yield char, True
    if plain:
        yield plain, False


def to_the_model(text: str) -> str:
    """The first words of a text that speak to the model instead of about the tool; "" when there are none."""
    seen = "".join(run for run, hidden in pieces(text) if not hidden)
    found = (pattern.search(seen) for pattern in TO_THE_MODEL)
    first = next((match for match in found if match), None)
    return first[0][:EXCERPT] if first else ""
