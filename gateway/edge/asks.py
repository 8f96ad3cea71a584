"""Requests of the hub to a client (elicitation, sampling, roots), and the answers that come back on other POSTs."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from gateway.eras.jsonrpc import error_of
from mcphub.core.keyring import KeyringError, keyring
from upstreams.errors import RpcError

PURPOSE: Final = "ask"
WORKER_BYTES: Final = 8

Told = Mapping[str, Any] | RpcError


class Asks:
    """Requests that wait for a client in this process. Their ids are sealed to the session and name the process."""

    def __init__(self) -> None:
        self._worker = os.urandom(WORKER_BYTES)
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

    def answer(self, session_id: str, message: Mapping[str, Any]) -> bool:
        """Hand a client's response to whoever waits; late ones are dropped.

        False when the hub never asked this session under that id.
        """
        id_ = message["id"]
        try:
            keyring().open(PURPOSE, str(id_), session_id.encode())
        except KeyringError:
            return False
        waiting = self._waiting.pop(id_, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(_told(message))
        return True


def _told(message: Mapping[str, Any]) -> Told:
    if "error" in message:
        return error_of(message["error"])
    result = message["result"]
    return result if isinstance(result, dict) else error_of(None)
