"""The way back to the client that made one request (`gateway.types.Reply`)."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from gateway.edge.asks import Asks, Told
from gateway.edge.failing import error_text
from gateway.edge.line import Line
from gateway.eras.jsonrpc import Id, id_text, notification_text, request_text, result_text
from gateway.errors import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    MODERN_HTTP_STATUS,
    REQUEST_CANCELLED,
    REQUEST_TIMEOUT,
)
from upstreams.errors import RpcError
from upstreams.types import Era

PROGRESS: Final = "notifications/progress"
CANCELLED: Final = RpcError(REQUEST_CANCELLED, "Request cancelled")
BROKEN: Final = RpcError(INTERNAL_ERROR, "Internal error")


class Reply:
    """Collects the end of one request; notifications and questions go out at once.

    `body` is the whole JSON-RPC response once the request has ended; `cancelled` says that the client called it off.
    """

    __slots__ = (
        "_asks",
        "_era",
        "_progress_token",
        "_session_id",
        "body",
        "cancelled",
        "id",
        "outlet",
        "status",
        "succeeded",
        "task",
    )

    def __init__(
        self, outlet: Line, era: Era, id_: Id, progress_token: Id | None, asks: Asks, session_id: str = ""
    ) -> None:
        self.outlet = outlet
        self.id = id_
        self.task = asyncio.current_task()
        self.status = 200
        self.body = b""
        self.cancelled = False
        self.succeeded = False
        self._era = era
        self._progress_token = progress_token
        self._asks = asks
        self._session_id = session_id

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification before the answer.

        Progress that nobody asked for is dropped, and so is what a client is told faster than it reads: an
        upstream that talks without end must not cost the client its answer.
        """
        if self.body or self.outlet.crowded:
            return
        if method == PROGRESS:
            if self._progress_token is None:
                return
            params = {**params, "progressToken": self._progress_token}
        self.outlet.event(notification_text(method, params))

    async def ask(self, method: str, params: Mapping[str, Any]) -> Told:
        """Send a request to the client on this stream and wait for what it answers, at most `person_s`."""
        if self._era == "modern" or not self.outlet.sse or not self._session_id:
            return RpcError(METHOD_NOT_FOUND, f"The client cannot be asked {method} here")
        id_, told = self._asks.open(self._session_id)
        self.outlet.event(request_text(id_, method, params))
        try:
            async with asyncio.timeout(self.outlet.limits.person_s):
                return await told
        except TimeoutError:
            self._call_off(id_, "timed out")
            return RpcError(REQUEST_TIMEOUT, "The client did not answer in time")
        except asyncio.CancelledError:
            self._call_off(id_, "the request that caused it was cancelled")
            raise
        finally:
            self._asks.close(id_)

    def _call_off(self, id_: str, reason: str) -> None:
        self.notify("notifications/cancelled", {"requestId": id_, "reason": reason})

    def result(self, raw: bytes) -> None:
        """End with this JSON text as the result, byte for byte."""
        if not self.body:
            self.body = result_text(id_text(self.id), raw)
            self.succeeded = True

    def error(self, error: RpcError, http_status: int | None = None) -> None:
        """End with an error; the modern era has its own HTTP status for most codes."""
        if self.body:
            return
        self.body = error_text(id_text(self.id), error)
        if http_status is not None:
            self.status = http_status
        elif self._era == "modern":
            self.status = MODERN_HTTP_STATUS.get(error.code, 200)

    def cancel(self) -> None:
        """The client called this request off: stop the work, unless it has ended already."""
        if not self.body and not self.cancelled and self.task is not None:
            self.cancelled = True
            self.task.cancel()

    def close(self) -> None:
        """The work is over; whatever happened, there is an answer."""
        if not self.body:
            self.error(CANCELLED if self.cancelled else BROKEN, None if self.cancelled else 500)
