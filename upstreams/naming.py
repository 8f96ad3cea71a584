"""Slugs of upstreams and the public names of their definitions. Pure."""

import hashlib
import re
import unicodedata
from collections.abc import Container
from typing import Final

from mcphub.core.ids import is_slug
from mcphub.core.names import RESERVED

SEPARATOR: Final = "__"
MAX_NAME: Final = 64
MAX_SLUG: Final = 32
HASH_DIGITS: Final = 8

_NOT_PUBLIC: Final = re.compile(r"[^A-Za-z0-9_-]")
_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")


def public_name(slug: str, original: str) -> str:
    """The name of a tool or prompt on an aggregate: `{slug}__{original}`, `[A-Za-z0-9_-]{1,64}`.

    When a character had to be replaced or cut, `_` and 8 hex digits of SHA-256(original) keep it
    apart from every other name. Public names are looked up, never split.
    """
    plain = f"{slug}{SEPARATOR}{original}"
    clean = _NOT_PUBLIC.sub("_", plain)
    if clean == plain and len(clean) <= MAX_NAME:
        return clean
    return f"{clean[: MAX_NAME - HASH_DIGITS - 1]}_{_mark(original)}"


def is_shortened(slug: str, original: str) -> bool:
    """Whether the public name differs from the plain `{slug}__{original}`, which people want to know."""
    return public_name(slug, original) != f"{slug}{SEPARATOR}{original}"


def marked(original: str) -> str:
    """The own name of a definition whose plain one was given to another as its alias."""
    return f"{_NOT_PUBLIC.sub('_', original)[: MAX_NAME - HASH_DIGITS - 1]}_{_mark(original)}"


def _mark(original: str) -> str:
    return hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]


def slug_fault(slug: str) -> str:
    """Why `slug` cannot name an upstream, as a sentence; "" when it can."""
    if slug in RESERVED:
        return f"“{slug}” is one of the hub's own addresses; choose another name."
    if not is_slug(slug):
        return "Use 2–32 lower-case letters, digits and hyphens; begin and end with a letter or digit."
    return ""


def slug_from(name: str) -> str:
    """A valid slug that resembles `name`; not yet compared with others or with the reserved words."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = _NOT_SLUG.sub("-", ascii_name.lower()).strip("-")[:MAX_SLUG].rstrip("-")
    if not slug:
        return "upstream"
    return slug if len(slug) > 1 else f"{slug}-mcp"


def free_slug(name: str, taken: Container[str]) -> str:
    """`slug_from(name)`, numbered `-2`, `-3`, … until it is neither taken nor reserved."""
    base = slug_from(name)
    slug, number = base, 1
    while slug in taken or slug in RESERVED:
        number += 1
        tail = f"-{number}"
        slug = base[: MAX_SLUG - len(tail)].rstrip("-") + tail
    return slug
