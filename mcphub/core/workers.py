"""This web process among the others: it asks them, answers them, and tells them what they should know.

An ask is a line between two workers: **ask** → **ack** → **go** → notes of both sides → **end**. The asked one
begins only at *go*, so that an ask whose ack did not arrive in time has certainly not been carried out; after
*go* a worker that falls silent leaves it open. A process that is alone answers itself, without any of this.
"""

import asyncio
import contextlib
import itertools
import os
import re
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import msgspec
import structlog

from mcphub.core import aio, clock
from mcphub.core.presence import Presence

ID_BYTES: Final = 8
WORKER_ID: Final = re.compile(r"\A[0-9a-f]{16}\Z")
BATCH_BYTES: Final = 1024 * 1024
FLUSH_S: Final = 2

log = structlog.get_logger(__name__)

Kind = Literal["ask", "ack", "no", "go", "note", "said", "end", "lost", "off", "tell", "beat"]


class NotTaken(Exception):
    """Nobody took the ask: it has certainly not been carried out."""


class Leaving(NotTaken):
    """The asked worker said so itself: it is about to stop, and somebody else will do what it did."""


class AnswerLost(Exception):
    """The asked worker began, and its answer will not come."""


class PostDown(Exception):
    """Messages to other workers cannot be sent now."""


class Post(Protocol):
    """Bytes from worker to worker (`mcphub.core.post`)."""

    async def send(self, worker: str, data: bytes) -> None:
        """Send to one worker, or to everybody (""). Raises `PostDown`."""

    async def run(self, received: Callable[[str, bytes], None]) -> None:
        """Hand over what arrives with its sender's id, for ever."""


class Frame(msgspec.Struct, array_like=True):
    """What travels: `line` is the asker's number of the conversation."""

    kind: Kind
    line: int = 0
    subject: str = ""
    body: bytes = b""


_encode: Final = msgspec.msgpack.Encoder().encode
_numbers: Final = msgspec.msgpack.Decoder(list[int])
_frames: Final = msgspec.msgpack.Decoder(list[Frame])


def _ignore(body: bytes) -> None:
    return None


class Line:
    """One side of an ask under way. `say` reaches the other side's `heard`, in order."""

    __slots__ = ("heard", "say")

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self.say = say
        self.heard: Callable[[bytes], None] = _ignore


Handler = Callable[[Line, bytes], Awaitable[bytes]]
Hearer = Callable[[str, bytes], None]


@dataclass(slots=True, eq=False)
class _Asked:
    worker: str
    line: Line
    taken: asyncio.Future[None]
    ended: asyncio.Future[bytes]
    heard_at: float


@dataclass(slots=True, eq=False)
class _Serving:
    subject: str
    body: bytes
    line: Line
    since: float
    task: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class _Outbox:
    frames: deque[Frame] = field(default_factory=deque)
    sending: asyncio.Task[None] | None = None


class Workers:
    """One per web process. `post` is None where there are no others; `presence` tells of their ends what it can."""

    def __init__(
        self,
        own: str,
        post: Post | None = None,
        presence: Presence | None = None,
        *,
        ack_s: float = 2,
        silent_s: float = 10,
    ) -> None:
        self.own: Final = own
        self.alone: Final = post is None
        self._post = post
        self._presence = presence
        self._ack_s = ack_s
        self._silent_s = silent_s
        self._handlers: dict[str, Handler] = {}
        self._hearers: dict[str, Hearer] = {}
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self._serving: dict[tuple[str, int], _Serving] = {}
        self._outboxes: defaultdict[str, _Outbox] = defaultdict(_Outbox)
        self._refusing = False
        self._tasks: list[asyncio.Task[None]] = []

    def answer(self, subject: str, handler: Handler) -> None:
        """Answer asks about `subject`. A handler that raises leaves its asker with `AnswerLost`."""
        self._handlers[subject] = handler

    def hear(self, subject: str, hearer: Hearer) -> None:
        """Be told about `subject` by others."""
        self._hearers[subject] = hearer

    async def start(self) -> None:
        """Join the others; while Redis is away, in the background."""
        if self._presence is not None:
            self._presence.begin()
        if self._post is not None:
            self._tasks = [
                aio.spawn(self._post.run(self._received), name="workers-post"),
                aio.spawn(self._watch(), name="workers-watch"),
            ]

    async def finish(self, patience_s: float) -> None:
        """Take no more asks, and give those under way `patience_s` to end."""
        self._refusing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await asyncio.gather(*self._under_way(), return_exceptions=True)

    async def stop(self) -> None:
        """End what is under way, send what is due, then leave."""
        await aio.cancel(*self._under_way())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await asyncio.gather(*(box.sending for box in self._outboxes.values() if box.sending))
        await aio.cancel(*self._tasks)
        if self._presence is not None:
            self._presence.end()

    def has_ended(self, worker: str) -> bool:
        """Whether it is certain that another worker's process is gone; False also when nobody can say."""
        return self._presence is not None and self._presence.has_ended(worker)

    def tell(self, worker: str, subject: str, body: bytes) -> None:
        """Let one worker know; nothing says whether it arrived."""
        if worker != self.own:
            self._send(worker, Frame("tell", 0, subject, body))

    def tell_all(self, subject: str, body: bytes) -> None:
        """Let every other worker know."""
        self._send("", Frame("tell", 0, subject, body))

    async def ask(self, worker: str, subject: str, body: bytes, use: Callable[[Line], None] | None = None) -> bytes:
        """The answer of `worker`. `use` is given this side's line before anything can be heard on it.

        Raises `NotTaken` or `AnswerLost`. Cancelling the task cancels the work there.
        """
        number = next(self._numbers)
        if worker == self.own:
            return await self._ask_here(subject, body, use)
        if self.alone or not WORKER_ID.match(worker) or self.has_ended(worker):
            raise NotTaken
        loop = asyncio.get_running_loop()
        line = Line(lambda said: self._send(worker, Frame("said", number, "", said)))
        if use is not None:
            use(line)
        asked = _Asked(worker, line, loop.create_future(), loop.create_future(), clock.monotonic())
        self._asked[number] = asked
        self._send(worker, Frame("ask", number, subject, body))
        try:
            async with asyncio.timeout(self._ack_s):
                await asked.taken
            asked.heard_at = clock.monotonic()
            self._send(worker, Frame("go", number))
            return await asked.ended
        except TimeoutError:
            self._send(worker, Frame("off", number))
            raise NotTaken from None
        except asyncio.CancelledError:
            self._send(worker, Frame("off", number))
            raise
        finally:
            del self._asked[number]
            _forget(asked.taken)
            _forget(asked.ended)

    async def _ask_here(self, subject: str, body: bytes, use: Callable[[Line], None] | None) -> bytes:
        if (handler := self._handlers.get(subject)) is None:
            raise NotTaken
        here, there = Line(lambda said: there.heard(said)), Line(lambda said: here.heard(said))
        if use is not None:
            use(here)
        return await handler(there, body)

    # --- sending ---------------------------------------------------------------------------------

    def _send(self, worker: str, frame: Frame) -> None:
        if self._post is None:
            return
        box = self._outboxes[worker]
        box.frames.append(frame)
        if box.sending is None:
            box.sending = aio.spawn(self._empty(worker, box, self._post), name="workers-send")

    async def _empty(self, worker: str, box: _Outbox, post: Post) -> None:
        """Send what is due for one worker, many frames at once when many wait."""
        try:
            while box.frames:
                batch, size = [box.frames.popleft()], 0
                while box.frames and (size := size + len(batch[-1].body)) < BATCH_BYTES:
                    batch.append(box.frames.popleft())
                await post.send(worker, _encode(batch))
        except PostDown as down:
            log.warning("workers_cannot_be_told", error=str(down))
            box.frames.clear()
            for asked in self._asked.values():
                if asked.worker == worker and not asked.taken.done():
                    asked.taken.set_exception(NotTaken())
        finally:
            del self._outboxes[worker]

    # --- receiving -------------------------------------------------------------------------------

    def _received(self, sender: str, data: bytes) -> None:
        if sender == self.own:
            return
        for frame in _frames.decode(data):
            match frame.kind:
                case "ask":
                    self._offered(sender, frame)
                case "go" | "said" | "off":
                    self._from_asker(sender, frame)
                case "tell":
                    if (hearer := self._hearers.get(frame.subject)) is not None:
                        hearer(sender, frame.body)
                case "beat":
                    self._alive(sender, _numbers.decode(frame.body))
                case _:
                    self._from_asked(sender, frame)

    def _offered(self, sender: str, frame: Frame) -> None:
        if self._refusing or frame.subject not in self._handlers:
            self._send(sender, Frame("no", frame.line))
            return
        line = Line(lambda said: self._send(sender, Frame("note", frame.line, "", said)))
        self._serving[sender, frame.line] = _Serving(frame.subject, frame.body, line, clock.monotonic())
        self._send(sender, Frame("ack", frame.line))

    def _from_asker(self, sender: str, frame: Frame) -> None:
        serving = self._serving.get((sender, frame.line))
        if serving is None:
            if frame.kind == "go":
                self._send(sender, Frame("lost", frame.line))
        elif frame.kind == "said":
            serving.line.heard(frame.body)
        elif frame.kind == "go" and serving.task is None:
            serving.task = aio.spawn(self._serve(sender, frame.line, serving), name=f"serve {serving.subject}")
        elif frame.kind == "off":
            if serving.task is None:
                del self._serving[sender, frame.line]
            else:
                serving.task.cancel()

    async def _serve(self, sender: str, number: int, serving: _Serving) -> None:
        end = Frame("lost", number)
        try:
            end = Frame("end", number, "", await self._handlers[serving.subject](serving.line, serving.body))
        except Exception:  # the top of a task: whatever it was, the asker must hear that no answer comes
            log.exception("ask_failed", subject=serving.subject)
        finally:
            del self._serving[sender, number]
            self._send(sender, end)

    def _from_asked(self, sender: str, frame: Frame) -> None:
        asked = self._asked.get(frame.line)
        if asked is None or asked.worker != sender:
            return
        if frame.kind == "ack":
            _settle(asked.taken, None)
        elif frame.kind == "no":
            _fail(asked.taken, Leaving())
        elif frame.kind == "note":
            asked.line.heard(frame.body)
        elif frame.kind == "end":
            _settle(asked.ended, frame.body)
        else:
            _fail(asked.ended, AnswerLost())

    # --- who is still there ----------------------------------------------------------------------

    async def _watch(self) -> None:
        """While a line is open its asked side says so every now and then; silence, or its end, ends it.

        What other lines say does not count: the end of this one may have been lost with Redis.
        """
        while True:
            await asyncio.sleep(self._silent_s / 4)
            now = clock.monotonic()
            for worker, lines in self._lines().items():
                self._send(worker, Frame("beat", 0, "", _encode(lines)))
            for key, serving in list(self._serving.items()):
                if serving.task is None and now - serving.since > self._silent_s:
                    del self._serving[key]
            ended = {worker for worker in {asked.worker for asked in self._asked.values()} if self.has_ended(worker)}
            for asked in self._asked.values():
                if now - asked.heard_at > self._silent_s or asked.worker in ended:
                    _fail(asked.ended, AnswerLost())

    def _lines(self) -> dict[str, list[int]]:
        """The lines that are served here, by asker."""
        lines: defaultdict[str, list[int]] = defaultdict(list)
        for sender, number in self._serving:
            lines[sender].append(number)
        return lines

    def _alive(self, sender: str, lines: Collection[int]) -> None:
        """`sender` still serves these lines."""
        now = clock.monotonic()
        for number in lines:
            asked = self._asked.get(number)
            if asked is not None and asked.worker == sender:
                asked.heard_at = now

    def _under_way(self) -> list[asyncio.Task[None]]:
        return [serving.task for serving in self._serving.values() if serving.task is not None]


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _forget(future: asyncio.Future[Any]) -> None:
    if not future.cancel() and not future.cancelled():
        future.exception()


def new_worker_id() -> str:
    """16 hex digits, new for every process."""
    return os.urandom(ID_BYTES).hex()
