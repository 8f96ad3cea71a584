"""A lexical index of an org's tools: SQLite's FTS5 in memory, whatever database the hub has.

It is made of one snapshot and dies with it; a search costs the database nothing.
"""

import re
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from gateway.catalogue import Entry

WEIGHTS: Final = "8.0, 6.0, 4.0, 1.0"
"""Of a word in the name, the upstream's slug, the description and the arguments."""
MOST_WORDS: Final = 24
CHUNK: Final = 200

_WORD: Final = re.compile(r"[^\W_]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_body: Final = msgspec.json.Decoder(dict[str, Any])


class ToolIndex:
    """Entries by the words of their name, description and arguments. Blocking: a thread's work."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries: Final = entries
        self._lock = threading.Lock()
        self._rows = sqlite3.connect(":memory:", check_same_thread=False)
        self._rows.execute(
            "CREATE VIRTUAL TABLE tools USING fts5(name, upstream, description, arguments, "
            "holder UNINDEXED, tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        rows = ((number, *_words_of(entry), entry.holder) for number, entry in enumerate(entries))
        self._rows.executemany("INSERT INTO tools (rowid, name, upstream, description, arguments, holder) "
                               "VALUES (?, ?, ?, ?, ?, ?)", rows)  # fmt: skip

    def search(self, query: str, holder: str, offset: int) -> list[Entry]:
        """The next `CHUNK` entries that have any word of the query, everybody's or this principal's, best first."""
        wanted = _match(query)
        if not wanted:
            return []
        with self._lock:
            found = self._rows.execute(
                f"SELECT rowid FROM tools WHERE tools MATCH ? AND holder IN ('', ?) "  # a constant
                f"ORDER BY bm25(tools, {WEIGHTS}), rowid LIMIT {CHUNK} OFFSET ?",
                (wanted, holder, offset),
            ).fetchall()
        return [self._entries[number] for (number,) in found]


def _words_of(entry: Entry) -> tuple[str, str, str, str]:
    body = _body.decode(entry.body)
    schema = body.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    described = properties.items() if isinstance(properties, dict) else ()
    arguments = " ".join(f"{name} {_text(about, 'description')}" for name, about in described)
    about = f"{_text(body, 'title')} {_text(body, 'description')}"
    return _split(f"{entry.own} {entry.name}"), _split(entry.upstream), about, _split(arguments)


def _text(value: Any, member: str) -> str:
    found = value.get(member) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _split(text: str) -> str:
    """`listOpenIssues` and `list_open_issues` as three words."""
    return " ".join(_WORD.findall(_CAMEL.sub(" ", text)))


def _match(query: str) -> str:
    """The query in FTS5's language: any of its words, begun words too. Nothing of it is taken for an operator."""
    words: Iterable[str] = dict.fromkeys(_WORD.findall(_CAMEL.sub(" ", query).lower()))
    return " OR ".join(f'"{word}"*' for word in list(words)[:MOST_WORDS])
