"""MCP over the standard streams of a process: one JSON-RPC message a line, concurrent by id."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mcphub.core import aio
from mcphub.core.limits import Limits
from upstreams.errors import LinkOver, Lost, TooLarge, UpstreamError
from upstreams.runners.base import Process
from upstreams.transports.base import Watcher
from upstreams.transports.multiplexed import Multiplexed
from upstreams.transports.pieces import Pieces
from upstreams.types import ServerFacts, UpstreamSpec

HEAD: Final = 4096
ENDS_S: Final = 2
"""A process whose pipe is broken usually ends, and says why."""
TAIL_LINES: Final = 12


class Lines:
    """Cuts a byte stream into lines of at most `limit` bytes; of longer ones only the head is kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts = Pieces()
        self._head = b""

    def feed(self, piece: bytes) -> Iterator[tuple[bytes, bool]]:
        """The lines that `piece` completes, each with whether it was over the limit (then only its head)."""
        *whole, rest = piece.split(b"\n")
        for end in whole:
            self._add(end)
            yield self._head or self._parts.take(), self._head != b""
            self._head = b""
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        if self._head:
            return
        self._parts.add(piece)
        if self._parts.size > self._limit:
            self._head = self._parts.head(HEAD)
            self._parts.clear()


class StdioLink(Multiplexed):
    """A link to one process. It ends with the process, and closing it stops the process."""

    facts: ServerFacts

    def __init__(
        self, spec: UpstreamSpec, process: Process, watcher: Watcher, limits: Limits, capabilities: Mapping[str, Any]
    ) -> None:
        super().__init__(spec, watcher, limits, capabilities)
        self._process = process
        self._lines = Lines(limits.result_bytes)
        self._silent = False
        self._reader = aio.spawn(self._read(), name=f"stdio {spec.slug}")

    async def send(self, data: bytes) -> None:
        if self._silent:
            await asyncio.wait({self._reader})  # which stops the process after `ENDS_S`
            raise LinkOver("The upstream's process was ending.")
        try:
            await self._process.write(data + b"\n")
        except OSError:
            await asyncio.wait({self._reader}, timeout=ENDS_S)
            if self.ended is None:
                raise
            raise self.ended from None

    async def close(self) -> None:
        self.finish_quietly()
        await self._process.stop()
        await aio.cancel(self._reader)

    def stderr_tail(self) -> str:
        """What the process last complained about, without the secrets it was given."""
        return without_secrets(self._process.stderr_tail(), self.spec)

    async def _read(self) -> None:
        """Take what it prints, to the end: a pipe that is not read is never seen to close.

        A process that broke the rules is stopped, and what it still prints is thrown away.
        """
        stopping: asyncio.Task[None] | None = None
        while piece := await self._process.read():
            if self.ended is None:
                self._take(piece)
            elif stopping is None:
                stopping = aio.spawn(self._process.stop(), name=f"stop {self.spec.slug}")
        if self.ended is not None:
            return
        self._silent = True
        ended = Lost(f"The upstream's process ended ({await self._end()}).")
        self.finish(with_complaint(ended, self.stderr_tail()))

    def _take(self, piece: bytes) -> None:
        for line, overlong in self._lines.feed(piece):
            if self.ended is not None:
                return
            if overlong:
                self.too_long(line, TooLarge("The upstream sent a message over the size limit."))
            elif line.strip():
                self.received(line)

    async def _end(self) -> str:
        """How the process ended, after its output did; one that lives on without is stopped."""
        try:
            async with asyncio.timeout(ENDS_S):
                return await self._process.ended()
        except TimeoutError:
            await self._process.stop()
            return "after it had closed its output"


def with_complaint(error: UpstreamError, stderr: str) -> UpstreamError:
    """`error` with the last lines of standard error as a note: for operators, never for clients."""
    tail = "\n".join(stderr.strip().splitlines()[-TAIL_LINES:])
    if tail:
        error.add_note(tail)
    return error


def without_secrets(text: str, spec: UpstreamSpec) -> str:
    """`text` with the values of the upstream's variables and headers blacked out."""
    for value in {*spec.env.values(), *spec.headers.values()}:
        if len(value) >= 6:
            text = text.replace(value, "•••")
    return text
