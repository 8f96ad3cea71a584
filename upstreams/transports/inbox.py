"""What an HTTP upstream sends besides answers: its notifications and its questions."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from mcphub.core import aio
from upstreams.errors import ProtocolFault, RpcError
from upstreams.transports import base
from upstreams.transports import wire as messages
from upstreams.transports.base import Underway, Watcher
from upstreams.transports.session import Session
from upstreams.types import Answer


class Inbox:
    """Hands each message to the exchange that it belongs to; `underway` are those in flight, by their ids.

    One exchange may have so many `questions` open at a time.
    """

    def __init__(
        self,
        session: Session,
        watcher: Watcher,
        capabilities: Mapping[str, Any],
        questions: int,
        send: Callable[[bytes], Coroutine[Any, Any, None]],
    ) -> None:
        self.underway: dict[int, Underway] = {}
        self._session = session
        self._watcher = watcher
        self._capabilities = capabilities
        self._questions = questions
        self._send = send

    def belonging(self, under: Underway, message: messages.Message) -> Answer | None:
        """Act on a message from the exchange's own stream; the response ends it. Raises `ProtocolFault`."""
        if not message.method:
            if message.id != under.id:
                raise ProtocolFault("The upstream answered with another id than it was asked with.")
            return base.answer_of(message, self._session.era)
        if message.id is not None:
            self._asked(under, message.id, message)
        else:
            self._notified(under, message.method, message.arguments())
        return None

    def untied(self, message: messages.Message) -> None:
        """Act on a message from a stream of its own."""
        if message.method and message.id is not None:
            self._asked(self._sole(), message.id, message)
        elif message.method:
            self._notified(None, message.method, message.arguments())

    def _asked(self, under: Underway | None, id: str | int, message: messages.Message) -> None:
        if self._session.era == "modern":
            return
        if message.method == "ping":
            self._reply(id, {})
        elif under is None or not base.declared(message.method, self._capabilities):
            self._reply(id, base.UNTIED)
        elif len(under.asked) >= self._questions or id in under.asked:
            self._reply(id, base.BUSY)
        else:
            under.ask(id, message.method, message.arguments(), self._send)

    def _notified(self, under: Underway | None, method: str, params: Mapping[str, Any]) -> None:
        if method == base.PROGRESS:
            token = params.get("progressToken")
            if isinstance(token, int) and (owner := self.underway.get(token)) is not None:
                owner.progress(params)
        elif method == base.CANCELLED:
            for each in self.underway.values():
                each.cancel_ask(params.get("requestId"))
        elif under is not None and method in base.OF_THE_EXCHANGE:
            under.notify(method, params)
        else:
            self._watcher.noticed(method, params)

    def _sole(self) -> Underway | None:
        """The only exchange under way on a private connection, for servers that ask on the wrong stream."""
        return next(iter(self.underway.values())) if len(self.underway) == 1 else None

    def _reply(self, id: str | int, outcome: Mapping[str, Any] | RpcError) -> None:
        aio.spawn(self._send(messages.response(id, outcome)), name="reply-upstream")
