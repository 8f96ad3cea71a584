"""Requests of the hub to a client (elicitation, sampling, roots), and the answers that come back on other POSTs."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from gateway.eras.jsonrpc import error_of
from mcphub.core.keyring import KeyringError, keyring
from mcphub.core.packing import pack, unpack
from mcphub.core.workers import AnswerLost, Line, NotTaken, Workers
from upstreams.errors import RpcError

PURPOSE: Final = "ask"
SUBJECT: Final = "client-answer"

Told = Mapping[str, Any] | RpcError


class Asks:
    """Requests that wait for a client in this process. Their ids are sealed to the session and name the process."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._worker = bytes.fromhex(workers.own)
        workers.answer(SUBJECT, self._answered_elsewhere)
        self._waiting: dict[str, asyncio.Future[Told]] = {}

    def open(self, session_id: str) -> tuple[str, asyncio.Future[Told]]:
        """A new request id and what will hold its answer."""
        id_ = keyring().seal(PURPOSE, self._worker + os.urandom(8), session_id.encode())
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = future
        return id_, future

    def close(self, id_: str) -> None:
        """Nobody waits for this one any more."""
        self._waiting.pop(id_, None)

    async def answer(self, session_id: str, message: Mapping[str, Any]) -> bool:
        """Hand a client's response to whoever waits, in whichever process; late ones are dropped.

        False when the hub never asked this session under that id.
        """
        id_ = message["id"]
        try:
            plain = keyring().open(PURPOSE, str(id_), session_id.encode())
        except KeyringError:
            return False
        if (worker := plain[: len(self._worker)]) == self._worker:
            self._settle(message)
        else:
            with suppress(NotTaken, AnswerLost):
                await self._workers.ask(worker.hex(), SUBJECT, pack(message))
        return True

    def _settle(self, message: Mapping[str, Any]) -> None:
        waiting = self._waiting.pop(message["id"], None)
        if waiting is not None and not waiting.done():
            waiting.set_result(_told(message))

    async def _answered_elsewhere(self, line: Line, body: bytes) -> bytes:
        self._settle(unpack(body, dict[str, Any]))
        return b""


def _told(message: Mapping[str, Any]) -> Told:
    if "error" in message:
        return error_of(message["error"])
    result = message["result"]
    return result if isinstance(result, dict) else error_of(None)
