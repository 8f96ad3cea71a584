"""Server-sent events (WHATWG HTML, section 9.2), cut from a byte stream with bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from upstreams.errors import ProtocolFault, TooLarge
from upstreams.transports.pieces import Pieces

LONGEST_NAME: Final = len(b"event: ")
"""What a line may have beside its value."""
FLOOD: Final = "The upstream sent more than the limit before its answer."


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `kind` is "message" unless the stream named another."""

    data: bytes
    kind: str = "message"


class EventReader:
    """Feed it pieces; it yields whole events and keeps the last event id and the asked reconnection time.

    One event may have `event_bytes`; all events before the last together `stream_bytes`.
    """

    def __init__(self, event_bytes: int, stream_bytes: int) -> None:
        self.last_id = ""
        self.retry_s: float | None = None
        self._event_bytes = event_bytes
        self._left = stream_bytes
        self._raw_left = event_bytes + 2 * stream_bytes
        self._rest = Pieces()
        self._after_cr = False
        self._data = Pieces()
        self._kind = ""

    def after(self, before: "EventReader") -> Self:
        """Go on after a stream that ended: its last event id and reconnection time still hold."""
        self.last_id, self.retry_s = before.last_id, before.retry_s
        return self

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that `piece` completes. Raises `TooLarge` and `ProtocolFault`."""
        self._raw_left -= len(piece)
        if self._raw_left < 0:
            raise TooLarge(FLOOD)
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\n" not in piece and b"\r" not in piece:
            self._rest.add(piece)
            self._check(self._rest.size, LONGEST_NAME)
            return
        text = self._rest.take() + piece if self._rest.size else piece
        self._after_cr = text.endswith(b"\r")
        lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if rest := lines.pop():
            self._rest.add(rest)
        for line in lines:
            self._check(len(line), LONGEST_NAME)
            if line:
                self._field(line)
            elif event := self._dispatch():
                yield event
        self._check(self._rest.size, LONGEST_NAME)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.add(value + b"\n")
            self._check(self._data.size - 1)
        elif name == b"event":
            self._kind = _text(value)
        elif name == b"id" and b"\0" not in value:
            self.last_id = _text(value)
        elif name == b"retry" and value.isdigit() and len(value) < 8:
            self.retry_s = int(value) / 1000

    def _dispatch(self) -> Event | None:
        if self._left < 0:
            raise TooLarge(FLOOD)
        self._left -= max(self._data.size - 1, 0)
        kind, self._kind = self._kind, ""
        return Event(self._data.take()[:-1], kind or "message") if self._data.size else None

    def _check(self, size: int, more: int = 0) -> None:
        if size > self._event_bytes + more:
            self._rest.clear()
            self._data.clear()
            raise TooLarge("The upstream sent an event over the size limit.")


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolFault("The upstream's event stream is not UTF-8.") from error
