"""Many clients under one id: whether everybody gets their own answer (PROMISES 3, F41)."""

import asyncio
import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.harness.raw import ERAS, Era, raw_client

TOOL: Final = "evil__act"
EQUAL_ID: Final = 1


@dataclass(frozen=True, slots=True)
class Echoes:
    """How many answers came, and those that were another's, in words."""

    answers: int
    crossed: tuple[str, ...]


async def echoed(url: str, keys: Sequence[str], *, clients: int, answers: int, at_once: int = 2) -> Echoes:
    """`clients` clients, keys and eras in turn, each with `at_once` calls under way, all under the id 1.

    Every call carries a nonce that nobody else knows; ends when `answers` answers have come.
    """
    tickets, crossed = itertools.count(), list[str]()

    async def work(era: Era, key: str) -> None:
        async with raw_client(url, key, era) as client:
            await asyncio.gather(*(caller(client.call) for _ in range(at_once)))

    async def caller(call) -> None:  # type: ignore[no-untyped-def]  # RawClient.call
        while next(tickets) < answers:
            nonce = uuid.uuid4().hex
            answer = await call(TOOL, id=EQUAL_ID, do="echo", text=nonce)
            if (said := answer["content"][0]["text"]) != nonce:
                crossed.append(f"{nonce} was answered {said}")

    pairs = [(ERAS[number % 2], keys[number // 2 % len(keys)]) for number in range(clients)]
    await asyncio.gather(*(work(era, key) for era, key in pairs))
    return Echoes(answers, tuple(crossed))
