"""A request that another web process must answer, because what it goes on with waits there."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.errors import INTERNAL_ERROR, METHOD_NOT_FOUND
from gateway.types import Reply, Request, Unavailable
from mcphub.core.packing import pack, unpack
from mcphub.core.workers import Line, Workers
from upstreams.errors import RpcError

SUBJECT: Final = "client-request"
BROKEN: Final = RpcError(INTERNAL_ERROR, "Internal error")

Handle = Callable[[Request, Reply], Awaitable[None]]


class Note(msgspec.Struct):
    """A notification for the client."""

    method: str
    params: dict[str, Any]


class End(msgspec.Struct):
    """How the request ended: `result` is JSON text."""

    result: bytes = b""
    error: RpcError | None = None
    http_status: int | None = None


class FarReply:
    """The `Reply` of a request whose client is at another process."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.end = End(error=BROKEN, http_status=500)

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self._line.say(pack(Note(method, dict(params))))

    async def ask(self, method: str, params: Mapping[str, Any]) -> RpcError:
        return RpcError(METHOD_NOT_FOUND, f"The client cannot be asked {method} here")

    def result(self, raw: bytes) -> None:
        self.end = End(raw)

    def error(self, error: RpcError, http_status: int | None = None) -> None:
        self.end = End(b"", error, http_status)


class Handing:
    """Hands requests of the modern era to other processes, and answers theirs with `handle`."""

    def __init__(self, workers: Workers) -> None:
        self.own: Final = workers.own
        self._workers = workers

    def answer_with(self, handle: Handle) -> None:
        """What answers the requests that others hand over."""

        async def answer(line: Line, body: bytes) -> bytes:
            reply = FarReply(line)
            try:
                await handle(unpack(body, Request), reply)
            except Unavailable as unavailable:
                reply.error(unavailable.error, 503)
            return msgspec.msgpack.encode(reply.end, enc_hook=dict)

        self._workers.answer(SUBJECT, answer)

    async def hand(self, worker: str, request: Request, reply: Reply) -> None:
        """Have `worker` answer it. Raises `NotTaken` or `AnswerLost` (`mcphub.core.workers`)."""

        def heard(body: bytes) -> None:
            note = unpack(body, Note)
            reply.notify(note.method, note.params)

        def use(line: Line) -> None:
            line.heard = heard

        end = msgspec.msgpack.decode(await self._workers.ask(worker, SUBJECT, pack(request), use), type=End)
        if end.error is not None:
            reply.error(end.error, end.http_status)
        else:
            reply.result(end.result)
