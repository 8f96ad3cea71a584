"""A TCP proxy between hub and upstream that breaks what passes through it, when a test says so.

It runs in a thread of its own, so that a test may block. A fault counts from the moment in which it is set, on open
connections and on new ones; bytes are those of the upstream's answers unless something else is said.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from tests.harness.processes import free_port

PIECE: Final = 65_536


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to answers. The default lets everything pass.

    cut_after: bytes of answers after which the connection is closed. reset_after: the same with a reset.
    delay_s: seconds that each piece waits. drip_s: seconds between single bytes. black_hole: answers vanish.
    """

    cut_after: int | None = None
    reset_after: int | None = None
    delay_s: float = 0
    drip_s: float = 0
    black_hole: bool = False


NONE: Final = Fault()


class FaultProxy:
    """Listens on `port` and passes everything to `target` (a loopback port) until told otherwise.

    With `tls` (a server's context) it speaks TLS to the hub and nothing to the upstream.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self._target: Final = target
        self._tls = tls
        self._fault = NONE
        self._passed = 0
        self._loop: Final = asyncio.new_event_loop()
        self.port: Final = free_port()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def be(self, fault: Fault) -> None:
        """Break answers like this from now on."""

        async def change() -> None:
            self._fault, self._passed = fault, 0

        self._do(change)

    @contextlib.contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        """Break answers like this for as long as the block lasts; then open connections end, new ones are well."""
        self.be(fault)
        try:
            yield
        finally:
            self.be(NONE)
            self._do(self._end)

    def speak(self, tls: ssl.SSLContext | None) -> None:
        """End every connection; new ones speak this."""

        async def change() -> None:
            self._tls = tls
            await self._end()

        self._do(change)

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """End every connection and refuse new ones, as when nobody listens, for as long as the block lasts."""
        self._do(self._close)
        try:
            yield
        finally:
            self._do(self._listen)

    def _do(self, what: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(what(), self._loop).result(10)  # type: ignore[arg-type]  # coroutine functions

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._end()

    async def _end(self) -> None:
        for writer in tuple(self._open):
            writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self._tls is not None:
                await writer.start_tls(self._tls)
            answers, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            asking = asyncio.create_task(_pump(reader, upstream))
            answering = asyncio.create_task(self._answer(answers, writer))
            try:
                await asyncio.wait((asking, answering), return_when=asyncio.FIRST_COMPLETED)
            finally:
                asking.cancel()
                answering.cancel()
                await asyncio.gather(asking, answering, return_exceptions=True)
        except OSError:
            return
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.close()
            if upstream is not None:
                upstream.close()

    async def _answer(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await answers.read(PIECE):
            fault = self._fault
            await asyncio.sleep(fault.delay_s)
            if fault.black_hole:
                continue
            limit = fault.cut_after if fault.reset_after is None else fault.reset_after
            if limit is not None:
                piece, whole = piece[: limit - self._passed], piece
                self._passed += len(piece)
            await _write(writer, piece, fault.drip_s)
            if limit is not None and len(piece) < len(whole):
                if fault.reset_after is not None:
                    _reset(writer)
                return


async def _write(writer: asyncio.StreamWriter, piece: bytes, drip_s: float) -> None:
    if not drip_s:
        writer.write(piece)
        await writer.drain()
        return
    for value in piece:
        writer.write(bytes((value,)))
        await writer.drain()
        await asyncio.sleep(drip_s)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class DeadEnd:
    """Connections to `port` are not answered, not even by the kernel, whose queue is full."""

    def __init__(self, port: int) -> None:
        self._port: Final = port

    def __enter__(self) -> Self:
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", self._port))
        self._listening.listen(0)
        self._waiting = [socket.socket() for _ in range(4)]
        for each in self._waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", self._port))
        return self

    def __exit__(self, *_: object) -> None:
        for each in (*self._waiting, self._listening):
            each.close()


class Silence:
    """A port that counts who comes and says nothing."""

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = int(self._listening.getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def visitors(self) -> int:
        """How many have connected since the last time."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listening.accept()[0].close()
                count += 1
        return count
