"""What happens to a session in one web process and matters in another; told to all, for nobody knows where.

| told | when | and there |
|---|---|---|
| cancelled | the client calls off a request that does not run here | it is cancelled where it runs |
| ended | the client ends the session | its streams and requests end |
| opened | its stream opens here | an older one ends; what was listed there is told back |
| listed | it was given a list, and its stream is not here | the stream's process compares from now on |
| pushed | something is for its stream, which is not here | it goes out there |
| unsubscribed | it no longer watches a resource | nor does it there |
| level | it asked for another log level | it holds there too |
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.news import News
from gateway.sessions import Sessions
from mcphub.core import aio
from mcphub.core.packing import pack, unpack
from mcphub.core.workers import Workers

SUBJECT: Final = "session"


class Happened(msgspec.Struct):
    """Something that happened to a session."""

    what: str
    session: str
    facts: dict[str, Any]


class Neighbours:
    """Joins the sessions of this process to those of the others."""

    def __init__(self, workers: Workers, sessions: Sessions, news: News) -> None:
        self._workers = workers
        self._sessions = sessions
        self._news = news
        workers.hear(SUBJECT, self._heard)
        sessions.tell = self.tell

    def tell(self, what: str, session_id: str, facts: Mapping[str, Any]) -> None:
        """Let the other processes know."""
        self._workers.tell_all(SUBJECT, pack(Happened(what, session_id, dict(facts))))

    def _heard(self, _: str, body: bytes) -> None:
        told = unpack(body, Happened)
        if (act := self._acts.get(told.what)) is not None:
            act(self, told.session, told.facts)

    def _cancelled(self, session_id: str, facts: dict[str, Any]) -> None:
        self._sessions.cancel_here(session_id, facts["request"])

    def _ended(self, session_id: str, facts: dict[str, Any]) -> None:
        self._sessions.ended_elsewhere(session_id)

    def _opened(self, session_id: str, facts: dict[str, Any]) -> None:
        self._sessions.close_stream(session_id)
        for name, digest in self._news.lists.seen(session_id).items():
            self.tell("listed", session_id, {"name": name, "digest": digest})

    def _listed(self, session_id: str, facts: dict[str, Any]) -> None:
        if self._sessions.has_stream(session_id):
            self._news.lists.listed(session_id, facts["name"], facts["digest"])
            self._news.lists.changed()

    def _pushed(self, session_id: str, facts: dict[str, Any]) -> None:
        self._sessions.push_here(session_id, facts["method"], facts["params"])

    def _unsubscribed(self, session_id: str, facts: dict[str, Any]) -> None:
        aio.spawn(self._news.unsubscribe_here(session_id, facts["uri"]), name="unsubscribe")

    def _level(self, session_id: str, facts: dict[str, Any]) -> None:
        self._sessions.note_log_level(session_id, facts["level"])

    _acts: Final[Mapping[str, Callable[["Neighbours", str, dict[str, Any]], None]]] = {
        "cancelled": _cancelled,
        "ended": _ended,
        "opened": _opened,
        "listed": _listed,
        "pushed": _pushed,
        "unsubscribed": _unsubscribed,
        "level": _level,
    }
