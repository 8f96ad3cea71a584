"""Files with secrets that an upstream's command is given: uploaded once, never shown again.

In configuration a file is a variable, `${NAME}`, that stands for its path. The path is known only when a process
starts, for each start has a folder of its own: until then a mark stands in its place that no text can contain.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_BYTES: Final = 128 * 1024
MOST: Final = 8
NAME_CHARS: Final = 80

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_PART: Final = re.compile(r"[^\s\"',;:=]{16,}")
MOST_PARTS: Final = 500


@dataclass(frozen=True, slots=True)
class SecretFile:
    """One file: its plain name, and what is in it."""

    name: str
    content: bytes = field(repr=False)


def safe_name(name: str) -> str:
    """The last part of an uploaded name, of letters, digits, dot, hyphen and underscore."""
    plain = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".")
    return plain[-NAME_CHARS:] or "file"


def fault_of(content: bytes) -> str:
    """Why this cannot be a file of an upstream, as a sentence; "" when it can."""
    if not content:
        return "The file is empty."
    if len(content) > MAX_BYTES:
        return too_large()
    return ""


def too_large() -> str:
    """What is said of a file that is."""
    return f"The file is larger than {MAX_BYTES // 1024} KiB."


def packed(file: SecretFile) -> dict[str, str]:
    """The file as the encrypted column keeps it."""
    return {"name": file.name, "content": base64.b64encode(file.content).decode()}


def unpacked(stored: Mapping[str, Any] | None) -> dict[str, SecretFile]:
    """The files of a column, by variable."""
    return {
        variable: SecretFile(entry["name"], base64.b64decode(entry["content"]))
        for variable, entry in (stored or {}).items()
    }


def decoded(text: str) -> bytes:
    """The bytes of base64 text as an API or a file gives it. Raises `ValueError`."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def mark(variable: str) -> str:
    """What stands for the path of a file until a process starts."""
    return f"\0{variable}\0"


def with_paths(text: str, paths: Mapping[str, str]) -> str:
    """`text` with the marks of files replaced by their paths."""
    if "\0" not in text:
        return text
    for variable, path in paths.items():
        text = text.replace(mark(variable), path)
    return text


def telling_parts(content: bytes) -> Iterator[str]:
    """The longer pieces of a text file, which must not be shown wherever a program prints them."""
    for number, match in enumerate(_PART.finditer(content.decode("utf-8", "ignore"))):
        if number >= MOST_PARTS:
            return
        yield match[0]
