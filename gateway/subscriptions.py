"""Who is told when a list changed: exactly the clients whose own view is another one now.

Hidden things leak nothing: a change that leaves a client's view as it was sends it nothing.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from gateway.lists import view_of
from gateway.router import Reach
from gateway.types import NotFound
from mcphub.core import aio
from policies.types import Kind

DEBOUNCE_S: Final = 0.1
LISTS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "tools": ("tool",),
    "prompts": ("prompt",),
    "resources": ("resource", "template"),
}

LIST_OF: Final[Mapping[Kind, str]] = {kind: name for name, kinds in LISTS.items() for kind in kinds}

Digests = Mapping[str, str]
Standing = tuple[str, Callable[[], Digests], Callable[[str], None]]
"""An open handshake stream: its session's id, how it sees the hub now, how to tell it."""


def digest(reach: Reach, revision: str, name: str) -> str:
    """A digest of one list, as this principal sees it on this route."""
    return "".join(view_of(reach, kind, revision).digest for kind in LISTS[name])


def digests(reach: Reach, revision: str) -> Digests:
    """A digest of each list."""
    return {name: digest(reach, revision, name) for name in LISTS}


@dataclass(slots=True, eq=False)
class Watch:
    """One open stream: how it sees the hub now, what it saw last of each list it cares for, how to tell it."""

    look: Callable[[], Digests]
    tell: Callable[[str], None]
    seen: dict[str, str]

    def compare(self) -> None:
        """Tell of every list that differs from what was seen last. Raises `NotFound` when nothing is open."""
        now = self.look()
        for name in self.seen:
            if self.seen[name] != now[name]:
                self.seen[name] = now[name]
                self.tell(f"notifications/{name}/list_changed")


class Subscriptions:
    """The open streams of this process that want to hear of changed lists.

    A handshake session cares for the lists that it has asked for once; `standing` yields those whose stream is
    open now. A modern client says what it cares for in `subscriptions/listen`.
    """

    def __init__(self, standing: Callable[[], Iterable[Standing]]) -> None:
        self._standing = standing
        self._sessions: dict[str, dict[str, str]] = {}
        self._watches: set[Watch] = set()
        self._due: asyncio.Task[None] | None = None

    def listed(self, session_id: str, name: str, digest: str) -> None:
        """A handshake session was given this list."""
        self._sessions.setdefault(session_id, {})[name] = digest

    def seen(self, session_id: str) -> Mapping[str, str]:
        """The lists that a handshake session was given in this process, with their digests."""
        return self._sessions.get(session_id, {})

    def forget(self, session_id: str) -> None:
        """The session has ended."""
        self._sessions.pop(session_id, None)

    def add(self, watch: Watch) -> None:
        """Watch on behalf of one modern stream."""
        self._watches.add(watch)

    def discard(self, watch: Watch) -> None:
        """The stream has ended."""
        self._watches.discard(watch)

    def changed(self) -> None:
        """Something of some org changed: look at every stream soon, once for many changes."""
        if self._due is None:
            self._due = aio.spawn(self._compare(), name="list-changed")

    async def stop(self) -> None:
        """Forget what is due."""
        if self._due is not None:
            await aio.cancel(self._due)

    async def _compare(self) -> None:
        await asyncio.sleep(DEBOUNCE_S)
        self._due = None
        for watch in [*self._watches, *self._open_sessions()]:
            with suppress(NotFound):
                watch.compare()
            await asyncio.sleep(0)

    def _open_sessions(self) -> Iterable[Watch]:
        for session_id, look, tell in self._standing():
            if seen := self._sessions.get(session_id):
                yield Watch(look, tell, seen)


def honoured(params: Mapping[str, Any]) -> list[str]:
    """The lists of a `subscriptions/listen` filter that the hub tells of (2026-07-28, subscriptions)."""
    asked = params.get("notifications")
    return [name for name in LISTS if isinstance(asked, dict) and asked.get(f"{name}ListChanged") is True]
