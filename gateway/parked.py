"""Calls of modern clients on handshake upstreams: they outlive the exchange that began them.

The upstream's question in the middle of a call ends the client's exchange with `input_required`; the call
itself waits here, as a task of its own, until the client's retry brings the answer.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gateway import rounds
from gateway.errors import INTERNAL_ERROR, REQUEST_CANCELLED
from gateway.types import Reply, Request
from mcphub.core import aio
from mcphub.core.limits import Limits
from upstreams.errors import RpcError
from upstreams.types import ClientFacts

FAIR_SHARE: Final = 10
"""One principal may hold this part (1/n) of all parked calls."""

HANDSHAKE_ONLY: Final = frozenset({"notifications/elicitation/complete"})
"""What an upstream may send in the middle of a call that 2026-07-28 does not know."""

FULL: Final = RpcError(INTERNAL_ERROR, "Too many calls wait for a person")
BROKEN: Final = RpcError(INTERNAL_ERROR, "Internal error")
CANCELLED: Final = RpcError(REQUEST_CANCELLED, "The call was ended by the hub")

Told = Mapping[str, Any] | RpcError


class Taken(Exception):
    """Another exchange of the client waits for this call already."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request of the upstream that nobody has answered yet."""

    method: str
    params: Mapping[str, Any]
    answer: asyncio.Future[Told]

    def as_request(self) -> dict[str, Any]:
        """The form it has in `inputRequests`."""
        return {"method": self.method, "params": self.params}


class ParkedCall:
    """One call under way. It is the `Reply` of its own work, and hands on to the exchange that is attached."""

    def __init__(self, request: Request, call_id: str, has_room: Callable[[], bool]) -> None:
        self.call_id: Final = call_id
        self.principal_id: Final = request.principal.id
        self.client: ClientFacts = request.client
        self.questions: Final[dict[str, Question]] = {}
        self.expiry: asyncio.TimerHandle | None = None
        self._has_room = has_room
        self._asked = 0
        self._reply: Reply | None = None
        self._end: Callable[[Reply], None] | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start the work that answers this reply."""
        self._task = aio.spawn(work, name="parked-call")
        self._task.add_done_callback(lambda _: self._changed.set())

    @property
    def is_attended(self) -> bool:
        """Whether an exchange of the client waits for this call now."""
        return self._reply is not None

    # --- the side of the work --------------------------------------------------------------------

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Reaches the client only while it is there: a parked call has no stream."""
        if self._reply is not None and method not in HANDSHAKE_ONLY:
            self._reply.notify(method, params)

    async def ask(self, method: str, params: Mapping[str, Any]) -> Told:
        """Wait for the client's next exchanges to bring the answer."""
        refused = rounds.refusal(method, params, self.client.capabilities)
        if refused is None and not self._has_room():
            refused = FULL
        if refused is not None:
            return refused
        self._asked += 1
        key = f"ask-{self._asked}"
        question = Question(method, params, asyncio.get_running_loop().create_future())
        self.questions[key] = question
        self._changed.set()
        try:
            return await question.answer
        finally:
            del self.questions[key]

    def result(self, raw: bytes) -> None:
        self._ended(lambda reply: reply.result(raw))

    def error(self, error: RpcError, http_status: int | None = None) -> None:
        self._ended(lambda reply: reply.error(error, http_status))

    def _ended(self, end: Callable[[Reply], None]) -> None:
        if self._end is None:
            self._end = end
            self._changed.set()

    # --- the side of the client -------------------------------------------------------------------

    def answered(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Hand the client's answers to whoever asked; what nobody asked is ignored."""
        for key, answer in answers.items():
            question = self.questions.get(key)
            if question is not None and not question.answer.done():
                question.answer.set_result({name: value for name, value in answer.items() if name != "resultType"})

    async def attend(self, reply: Reply, client: ClientFacts) -> Mapping[str, Question]:
        """Stay with the call until it has ended (then `reply` is answered and nothing is returned) or asks.

        A client that leaves meanwhile has cancelled the call.
        """
        self._reply, self.client = reply, client
        try:
            while not (self._is_over() or (open_now := self._open())):
                self._changed.clear()
                await self._changed.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            self._reply = None
        if not self._is_over():
            return open_now
        (self._end or self._without_end)(reply)
        return {}

    def _without_end(self, reply: Reply) -> None:
        reply.error(CANCELLED if self._task is not None and self._task.cancelled() else BROKEN, 500)

    def cancel(self) -> None:
        """End the work, and with it the call at the upstream."""
        if self._task is not None:
            self._task.cancel()

    async def over(self) -> None:
        """Wait until the work has ended, however it did."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _is_over(self) -> bool:
        return self._end is not None or (self._task is not None and self._task.done())

    def _open(self) -> Mapping[str, Question]:
        """The questions that this client may be asked; the others are refused on its behalf."""
        found = {}
        for key, question in self.questions.items():
            if question.answer.done():
                continue
            if refused := rounds.refusal(question.method, question.params, self.client.capabilities):
                question.answer.set_result(refused)
            else:
                found[key] = question
        return found


class Parking:
    """The calls of this process that modern clients may be asked about."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls: dict[str, ParkedCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, request: Request, call_id: str) -> ParkedCall:
        """A call that may be parked; its work begins with `ParkedCall.begin`."""
        parked = ParkedCall(request, call_id, partial(self._has_room, request.principal.id))
        self._calls[call_id] = parked
        return parked

    def find(self, call_id: str) -> ParkedCall | None:
        """The call, if it is parked here."""
        return self._calls.get(call_id)

    async def attend(self, parked: ParkedCall, reply: Reply, client: ClientFacts) -> Mapping[str, Question]:
        """See `ParkedCall.attend`; afterwards the call is over, or its time to be answered runs. Raises `Taken`."""
        if parked.is_attended:
            raise Taken
        if parked.expiry is not None:
            parked.expiry.cancel()
        questions: Mapping[str, Question] = {}
        try:
            questions = await parked.attend(reply, client)
        finally:
            if questions:
                loop = asyncio.get_running_loop()
                parked.expiry = loop.call_later(self._limits.person_s, self.drop, parked)
            else:
                self._calls.pop(parked.call_id, None)
        return questions

    def drop(self, parked: ParkedCall) -> None:
        """End a call that nobody will ask about again."""
        if parked.expiry is not None:
            parked.expiry.cancel()
        self._calls.pop(parked.call_id, None)
        parked.cancel()

    async def stop(self) -> None:
        """End all of them, and wait until they have ended."""
        calls = list(self._calls.values())
        for parked in calls:
            self.drop(parked)
        await asyncio.gather(*(parked.over() for parked in calls))

    def _has_room(self, principal_id: str) -> bool:
        """Whether one more may wait: neither the hub nor the principal holds too many."""
        limit = self._limits.parked
        asking = [each.principal_id for each in self._calls.values() if each.questions]
        return len(asking) < limit and asking.count(principal_id) < max(1, limit // FAIR_SHARE)
