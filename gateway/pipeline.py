"""The way of a call: decided, recorded, relayed, recorded. Nothing else calls an upstream for a client."""

from collections.abc import Awaitable
from typing import Any, Final

from django.urls import reverse
from msgspec.structs import replace

from audit.events import Event, Kind, Result
from audit.flood import Denials
from audit.writer import Writer
from gateway import relay, rounds
from gateway.approving import Anew, Approving
from gateway.calls import Call, Refused, decision_on
from gateway.connecting import Connecting
from gateway.dialogue import Dialogue, goes_on
from gateway.errors import INVALID_PARAMS
from gateway.failures import Failure, unknown
from gateway.handing import Handing
from gateway.pages import Pages
from gateway.parked import ParkedCall, Parking, Taken
from gateway.rates import Over, RateLimiter
from gateway.readers import READERS
from gateway.rounds import State
from gateway.router import Reach
from gateway.run import Again, Ended, Run, fail, intent_of
from gateway.types import NotFound, Reply, Request, Unavailable
from mcphub.accounts.links import absolute
from mcphub.core.clock import epoch_us, monotonic
from mcphub.core.limits import Limits
from mcphub.core.workers import AnswerLost, NotTaken
from policies.engine import rate_limited
from policies.types import Decision
from upstreams.connections import Connections
from upstreams.errors import NeedsConnection, NeedsScope, Outcome, ProtocolFault, RpcError, UpstreamError

NOUNS: Final = {"tool": "tool", "prompt": "prompt", "resource": "resource", "template": "resource"}
BAD_ANSWERS: Final = RpcError(INVALID_PARAMS, "inputResponses must be an object of results")
GONE: Final = Failure("lost", "The process in which the call waited went away.", "unknown")
DECLINED: Final = Failure("cancelled", "The page that the server asked for was not opened.", "not_sent")


class Pipeline:
    """Bound to this process's connections and its audit writer."""

    def __init__(
        self,
        connections: Connections,
        audit: Writer,
        denials: Denials,
        limits: Limits,
        handing: Handing,
        rates: RateLimiter,
    ) -> None:
        self.rates: Final = rates
        self._connections = connections
        self._audit = audit
        self.denials: Final = denials
        self._dialogue = Dialogue(connections, audit, limits)
        self._handing = handing
        self.pages: Final = Pages(self._dialogue, limits.page_wait_s)
        self.connecting: Final = Connecting(connections.vault, self.pages)
        self.approving: Final = Approving(self._dialogue, denials, self.pages, limits)
        self.parking: Final = Parking(limits)

    async def run(self, request: Request, reply: Reply, reach: Reach, again: Again, *, counted: bool = False) -> None:
        """Answer one call; `counted`: toward rate limits, before. Raises `Unavailable` when it cannot be recorded."""
        early = None
        if rounds.STATE in request.params or rounds.RESPONSES in request.params:
            if request.era == "modern" and rounds.STATE in request.params:
                await self._retried(request, reply, reach, again)
                return
            early = request.params.get(rounds.RESPONSES)
            request = replace(request, params=rounds.without_round(request.params))
        try:
            call = READERS[request.method](request.params, reach)
        except Refused as refused:
            self._refuse(request, reply, reach, refused.error)
            return
        if reach.snapshot.rates and not counted and (over := await self.rates.over(call, reach)) is not None:
            self._slow_down(request, reply, call, over)
            return
        decision = decision_on(call, reach)
        asked = Run(_narrowed(request, call), reply, reach, call, intent_of(request, call, decision), again)
        try:
            run = asked if decision.effect == "allow" else await self._opened(asked, decision)
        except Anew:
            await self.run(request, reply, await again(request), again, counted=True)
            return
        if run is None:
            return
        await self._record(run)
        if early is not None and request.era == "modern" and self._dialogue.is_modern(call):
            run = replace(run, call=_continued(call, State(run.intent.call_id), early))
        await self._start(run)

    async def _opened(self, run: Run, decision: Decision, state: State | None = None) -> Run | None:
        """The run although no rule allows it: a person did. None when nobody did, and the client has been told."""
        if decision.effect == "ask":
            return await self.approving.admit(run, decision, state)
        self._deny(run.request, run.reply, run.reach, run.call, run.intent)
        return None

    async def _record(self, run: Run) -> None:
        try:
            await self._dialogue.record(run.intent)
        except Unavailable:
            await self.approving.give_back(run)
            raise

    def _start(self, run: Run) -> Awaitable[None]:
        return self._park(run) if self._dialogue.may_park(run.request, run.call) else self._dispatch(run)

    async def _park(self, run: Run) -> None:
        parked = self.parking.begin(run.request, run.intent.call_id)
        parked.begin(self._dispatch(replace(run, reply=parked)))
        await self._attend(run, parked)

    async def _dispatch(self, run: Run) -> None:
        started = monotonic()
        ended: Ended | None = {"outcome": Result.UNKNOWN, "reason": "cancelled"}
        try:
            answer = await self._connections.call(
                run.call.spec, run.exchange(self._dialogue.sink(run), run.call.params)
            )
            ended = await self._dialogue.go_on(run, answer) if goes_on(run.request, answer) else run.answered(answer)
        except (NeedsConnection, NeedsScope) as error:
            ended = self.connecting.turn(run, error)
        except UpstreamError as error:
            ended = run.failed(Failure.of(error))
        except relay.NotAnObject:
            fault = ProtocolFault("The server answered with something that is no result.", outcome="completed")
            ended = run.failed(Failure.of(fault))
        finally:
            if ended is not None:
                self._record_end(run, started, ended)

    # --- later rounds of modern clients ------------------------------------------------------------

    async def _retried(self, request: Request, reply: Reply, reach: Reach, again: Again) -> None:
        """The client comes again with answers: decided anew, and on with the same call."""
        try:
            state = rounds.unseal(request)
        except rounds.BadState:
            reply.error(rounds.BAD_STATE)
            return
        if state.parked not in ("", self._handing.own):
            await self._hand_over(request, reply, state)
            return
        if state.awaits:
            await self.pages.wait(state)
            try:
                reach = await again(request)
            except NotFound:
                reply.error(rounds.BAD_STATE)
                return
        parked = self.parking.find(state.call_id) if state.parked else None
        try:
            call = READERS[request.method](request.params, reach)
        except Refused as refused:
            if parked is not None:
                self.parking.drop(parked)
            reply.error(refused.error)
            return
        decision = decision_on(call, reach)
        event = intent_of(request, call, decision, state.call_id)
        if decision.effect == "deny":
            if parked is not None:
                self.parking.drop(parked)
            self._deny(request, reply, reach, call, event)
            return
        if (answers := rounds.responses(request.params)) is None:
            reply.error(BAD_ANSWERS)
            return
        if state.upstream_id != call.spec.id or (state.parked and (parked is None or parked.is_attended)):
            reply.error(rounds.BAD_STATE)
            return
        asked = Run(_narrowed(request, call), reply, reach, call, event, again)
        if state.afresh and any(answer.get("action") != "accept" for answer in answers.values()):
            await self._record(asked)
            self._record_end(asked, monotonic(), asked.failed(DECLINED))
            return
        run = asked if decision.effect == "allow" else await self._opened(asked, decision, state)
        if run is None:
            if parked is not None:
                self.parking.drop(parked)
            return
        await self._record(run)
        if parked is not None:
            parked.answered(answers)
            await self._attend(run, parked)
        else:
            await self._start(replace(run, call=_continued(call, state, answers)))

    async def _hand_over(self, request: Request, reply: Reply, state: State) -> None:
        """The call waits in another process, which decides and goes on."""
        try:
            await self._handing.hand(state.parked, request, reply)
        except NotTaken:
            reply.error(rounds.BAD_STATE)
        except AnswerLost:
            fail(request, reply, GONE, state.call_id)

    async def _attend(self, run: Run, parked: ParkedCall) -> None:
        """Stay with a call that may be parked until it ends or asks the client."""
        try:
            questions = await self.parking.attend(parked, run.reply, run.request.client)
        except Taken:
            run.reply.error(rounds.BAD_STATE)
            return
        if questions:
            requests = {key: question.as_request() for key, question in questions.items()}
            state = State(run.intent.call_id, parked=self._handing.own, upstream_id=run.call.spec.id)
            self._dialogue.require(run, requests, state)

    # --- ends ----------------------------------------------------------------------------------------

    def _record_end(self, run: Run, started: float, ended: Ended) -> None:
        latency = int((monotonic() - started) * 1_000_000)
        self._audit.record_soon(
            replace(run.intent, kind=Kind.OUTCOME, at=epoch_us(), payload=b"", latency_us=latency, **ended)
        )

    def _refuse(self, request: Request, reply: Reply, reach: Reach, error: RpcError) -> None:
        """Say that it means nothing; or that an account has to be connected before anybody can know."""
        if (failure := self.connecting.unknown(request, reach)) is not None:
            fail(request, reply, failure, "")
        else:
            reply.error(error)

    def _slow_down(self, request: Request, reply: Reply, call: Call, over: Over) -> None:
        """Say no for now; of a flood of these, one row a minute is on record."""
        told = over.spec.told(over.wait_s)
        event = intent_of(request, call, rate_limited(told))
        self.denials.add(replace(event, kind=Kind.DENIED), most=1)
        failure = Failure("rate_limited", told, "not_sent", retryable=True, retry_after=over.wait_s)
        fail(request, reply, failure, event.call_id)

    def _deny(self, request: Request, reply: Reply, reach: Reach, call: Call, event: Event) -> None:
        """Say no: as the tool's result where the tool may be seen, else as if it did not exist (F52)."""
        self.denials.add(replace(event, kind=Kind.DENIED))
        if not reach.shows(call.target):
            self._refuse(request, reply, reach, unknown(_noun(request, call), call.shown_as))
            return
        before: Outcome = "unknown" if event.kind is Kind.RESUMED else "not_sent"
        failure = Failure("denied", f"Policy does not allow this call: {event.reason}. {_why(event.call_id)}", before)
        fail(request, reply, failure, event.call_id)


def _why(call_id: str) -> str:
    return f"Why, and who can change it: {absolute(reverse('why', args=[call_id]))}"


def _noun(request: Request, call: Call) -> str:
    return "task" if request.method.startswith("tasks/") else NOUNS[call.target.kind]


def _narrowed(request: Request, call: Call) -> Request:
    """The request with the client as this upstream may see it."""
    if not call.spec.withheld:
        return request
    return replace(request, client=rounds.without(request.client, call.spec.withheld))


def _continued(call: Call, state: State, answers: Any) -> Call:
    """The call with what the next round adds to its parameters.

    Answers that nobody has asked for yet are for a modern upstream to judge.
    """
    if state.afresh:
        return replace(call, params=rounds.without_round(call.params))
    return replace(call, params=rounds.with_round(call.params, answers, state.theirs))
