"""uvicorn's WebSockets with what they lack: an answer to a bad handshake, and limits on what a client may pile up."""

import logging
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from gateway.server.deadline import Deadline
from gateway.server.doors import Doors
from gateway.server.refusals import refusal
from mcphub.core.limits import Limits

log: Final = logging.getLogger("uvicorn.websocket")
"""Quiet below warnings: of every connection it would tell the query, in which clients put secrets."""


class LimitedSocket(WebSocketsSansIOProtocol):
    """One WebSocket. A message has a bounded number of frames and must be whole within `body_s`; a client that does
    not read is not read either, and is cut after `write_s`.
    """

    limits: Limits
    doors: Doors

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = log
        self._reading: Final = Deadline(self.loop)
        self._writing: Final = Deadline(self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._reading.clear()
        self._writing.clear()
        self.doors.leave(self.client[0] if self.client else "")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(refusal(400))
            self.transport.close()

    def handle_text(self, event: Frame) -> None:
        self._begun(event)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._begun(event)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        if event.fin:
            self._reading.clear()
        elif len(self.frames) >= self.limits.message_frames:
            self._fail(CloseCode.MESSAGE_TOO_BIG)
            return
        super().handle_cont(event)

    def _begun(self, event: Frame) -> None:
        if not event.fin:
            self._reading.set("message", self.limits.body_s, lambda: self._fail(CloseCode.POLICY_VIOLATION))

    def handle_ping(self) -> None:
        """Answered only while the client reads; the frame that waits otherwise is dropped."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def _fail(self, code: CloseCode) -> None:
        self._reading.clear()
        self.conn.fail(code)
        self.handle_parser_exception()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing.set("write", self.limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._writing.clear()
