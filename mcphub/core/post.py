"""Bytes from one web process to another over the Channels layer: encrypted by it, in order, of any size.

Delivery is not promised: what is sent while Redis or the receiver is away is gone. Who needs to know asks back.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import structlog
from cryptography.fernet import InvalidToken
from redis.exceptions import RedisError

from mcphub.core.workers import PostDown

PIECE_BYTES: Final = 256 * 1024
SEND_S: Final = 5
RETRY_S: Final = 0.5
EVERYBODY: Final = "workers"

log = structlog.get_logger(__name__)

Received = Callable[[str, bytes], None]
"""Takes the sender's id and what it sent."""


class Layer(Protocol):
    """What is used of a Channels layer."""

    async def new_channel(self) -> str: ...

    async def receive(self, channel: str) -> dict[str, Any]: ...

    async def group_add(self, group: str, channel: str) -> None: ...

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None: ...


class ChannelPost:
    """The letter box of the worker `own`. One channel of its own, in its own group and in everybody's."""

    def __init__(self, layer: Layer, own: str) -> None:
        self._layer: Final = layer
        self._own: Final = own
        self._numbers = itertools.count()
        self._begun: dict[str, tuple[int, list[bytes]]] = {}

    async def send(self, worker: str, data: bytes) -> None:
        """Send to one worker; "" is everybody, this one included. One `send` at a time per worker keeps the order.

        Raises `PostDown`.
        """
        group = f"worker.{worker}" if worker else EVERYBODY
        number = next(self._numbers)
        pieces = range(0, len(data) or 1, PIECE_BYTES)
        try:
            async with asyncio.timeout(SEND_S):
                for at in pieces:
                    piece = {"from": self._own, "number": number, "at": at, "of": len(data)}
                    await self._layer.group_send(group, {**piece, "data": data[at : at + PIECE_BYTES]})
        except (RedisError, OSError, TimeoutError) as error:
            raise PostDown(type(error).__name__) from error

    async def run(self, received: Received) -> None:
        """Join, then hand over what arrives, for ever."""
        channel = await self._join()
        while True:
            try:
                message = await self._layer.receive(channel)
            except InvalidToken:
                log.warning("post_of_strangers")
                continue
            if (data := self._whole(message)) is not None:
                received(message["from"], data)

    async def _join(self) -> str:
        while True:
            try:
                channel = await self._layer.new_channel()
                await self._layer.group_add(f"worker.{self._own}", channel)
                await self._layer.group_add(EVERYBODY, channel)
            except (RedisError, OSError) as error:
                log.warning("post_not_joined", error=type(error).__name__)
                await asyncio.sleep(RETRY_S)
            else:
                return channel

    def _whole(self, message: Mapping[str, Any]) -> bytes | None:
        """The data once its last piece is here; with a piece missing it never is."""
        data: bytes = message["data"]
        if len(data) == message["of"]:
            return data
        if message["at"] == 0:
            self._begun[message["from"]] = (message["number"], [])
        number, pieces = self._begun.get(message["from"], (-1, []))
        if number != message["number"] or sum(map(len, pieces)) != message["at"]:
            return None
        pieces.append(data)
        if message["at"] + len(data) < message["of"]:
            return None
        del self._begun[message["from"]]
        return b"".join(pieces)
