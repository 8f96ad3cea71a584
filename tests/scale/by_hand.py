"""Sessions spoken by hand at a process of the test's choice, and calls that wait until the test lets them go on."""

import copy
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from tests.gateway.conftest import Handshake
from tests.gateway.test_edge_resuming import messages, posted, until_said
from tests.harness.hub import Hub
from tests.scale.conftest import Pair

names = itertools.count()


async def session_at(http: httpx.AsyncClient, hub: Hub, path: str = "/mcp", **capabilities: Any) -> Handshake:
    """A session that began at this process."""
    return await Handshake(http, hub.key, f"{hub.url}{path}").open(**capabilities)


def moved(session: Handshake, hub: Hub, path: str = "/mcp") -> Handshake:
    """The same session, its requests at another process."""
    twin = copy.copy(session)
    twin.path = f"{hub.url}{path}"
    return twin


class Gate:
    """Holds a call up between its two steps of progress."""

    def __init__(self, pair: Pair) -> None:
        self.name = f"gate-{next(names)}"
        self._file = pair.folder / self.name

    def call(self, session: Handshake) -> dict[str, Any]:
        return session.message("counting__pass_gate", {"gate": self.name}, "passed", progressToken="t")

    def open(self) -> None:
        self._file.touch()


@contextmanager
def gate_of(pair: Pair) -> Iterator[Gate]:
    """A gate that no call is left waiting at."""
    gate = Gate(pair)
    yield gate
    gate.open()


@asynccontextmanager
async def told_first(session: Handshake, gate: Gate) -> AsyncIterator[str]:
    """The id of the event after which the stream of a held-up call is lost."""
    async with posted(session, gate.call(session)) as stream:
        told = await until_said(stream, 2)
        assert messages(told) == [1]
    yield told[-1].id
