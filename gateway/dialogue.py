"""What a server asks of the client in the middle of a call, in all four combinations of eras.

| client | upstream | the question reaches the client | and its answer the upstream |
|---|---|---|---|
| handshake | handshake | as a request on the call's stream | as the response to the upstream's request |
| handshake | modern | as a request on the call's stream | with the same call, sent again |
| modern | modern | as `input_required`, the upstream's state sealed | with the client's retry |
| modern | handshake | as `input_required`; the call is parked | as the response to the upstream's request |
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import structs

from audit.events import AuditUnavailable, Event, Kind
from audit.writer import Writer
from gateway import bridge, relay, rounds, tasks
from gateway.approved import may_go_on
from gateway.bridge import Asker, ClientRefused
from gateway.calls import Call, Refused, decision_on
from gateway.errors import MISSING_CAPABILITY
from gateway.failures import NOT_RECORDED, Failure, unavailable
from gateway.readers import READERS
from gateway.rounds import INPUT_REQUIRED, Needs, State
from gateway.run import Ended, Run, holder_of, intent_of
from gateway.types import NotFound, Request, Unavailable
from mcphub.core.clock import epoch_us
from mcphub.core.limits import Limits
from upstreams.connections import Connections
from upstreams.errors import ProtocolFault, RpcError, TooLarge
from upstreams.transports.envelope import BRIDGED, offered
from upstreams.types import Answer, Sink

URL_REQUIRED: Final = -32042

MAY_NEED_INPUT: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Requests that may be answered with `input_required` (2026-07-28, multi round-trip requests)."""

ROUNDS: Final = 10
"""How often one call of a modern upstream may ask a handshake client; the SDK's clients end there too."""

STATE_SHARE: Final = 4
"""An upstream's state may fill this part (1/n) of what a client may send."""

UNREACHABLE: Final = "no longer within reach of this client"
NO_LONGER: Final = Failure("denied", "Policy does not allow this call any more.", "failed")


@dataclass(slots=True)
class Dialogue:
    """Bound to this process's connections and its audit writer."""

    connections: Connections
    audit: Writer
    limits: Limits

    # --- who is asked -----------------------------------------------------------------------------

    def may_park(self, request: Request, call: Call) -> bool:
        """Whether an upstream of the handshake era may ask this modern client something."""
        if request.era != "modern" or not request.client.capabilities:
            return False
        if self.is_modern(call):
            return False
        return any(name in BRIDGED for name in offered(request.client, holder_of(request, call.spec)))

    def is_modern(self, call: Call) -> bool:
        """Whether the call's upstream is known to speak the modern era."""
        facts = self.connections.facts(call.spec.id)
        return facts is not None and facts.era == "modern"

    def sink(self, run: Run) -> Sink:
        """Where the questions of a handshake upstream go."""
        if run.request.era == "modern" or not run.request.client.capabilities:
            return run.reply
        return Asker(run.reply, run.request.client, lambda: self._may_go_on(run))

    async def _may_go_on(self, run: Run) -> bool:
        try:
            return await self._resumed(run)
        except Unavailable:
            return False

    async def _resumed(self, run: Run) -> bool:
        """Decide anew after a wait for the client, and record it. Raises `Unavailable`."""
        request, call = run.request, run.call
        try:
            reach = await run.again(request)
            now = READERS[request.method](request.params, reach)
        except (NotFound, Refused):
            gone = structs.replace(run.intent, kind=Kind.DENIED, at=epoch_us(), effect="deny", reason=UNREACHABLE)
            self.audit.record_soon(gone)
            return False
        decision = decision_on(now, reach)
        event = intent_of(request, call, decision, run.intent.call_id)
        if now.target != call.target or not may_go_on(now, request.principal, decision, run.approved):
            self.audit.record_soon(structs.replace(event, kind=Kind.DENIED))
            return False
        await self.record(event)
        return True

    async def record(self, event: Event) -> None:
        """Make an intent or a resumed round durable. Raises `Unavailable`."""
        try:
            await self.audit.record(event)
        except AuditUnavailable:
            raise unavailable(NOT_RECORDED, event.call_id) from None

    # --- answers that do not end a call -----------------------------------------------------------

    async def go_on(self, run: Run, answer: Answer) -> Ended | None:
        """After an answer that `goes_on`: how the call ended, or None when its client was asked to come again.

        Raises `UpstreamError`, `relay.NotAnObject`, `Unavailable`.
        """
        if answer.error is not None:
            return self._asked_for_pages(run, answer.error)
        kind = relay.result_type(answer.result)
        if kind != INPUT_REQUIRED:
            return _extended(run, kind, answer)
        if run.call.method not in MAY_NEED_INPUT:
            raise ProtocolFault("The server asked for input where nobody can be asked.", outcome="failed")
        if run.request.era == "handshake":
            return await self._ask_here(run, answer)
        needs = _needs(answer)
        self.require(run, needs.requests, State(run.intent.call_id, upstream_id=run.call.spec.id, theirs=needs.state))
        return None

    async def _ask_here(self, run: Run, answer: Answer) -> Ended:
        """A modern upstream's questions to a handshake client, as often as it has some."""
        for _ in range(ROUNDS):
            needs = _needs(answer)
            try:
                answers = await bridge.put(needs, run.reply, run.request.client, run.intent.call_id)
            except ClientRefused as refused:
                return run.erred(refused.error)
            if not await self._resumed(run):
                return run.failed(NO_LONGER)
            params = rounds.with_round(run.call.params, answers, needs.state)
            answer = await self.connections.call(run.call.spec, run.exchange(run.reply, params))
            if not goes_on(run.request, answer):
                return run.answered(answer)
            if (kind := relay.result_type(answer.result)) != INPUT_REQUIRED:
                return _extended(run, kind, answer)
        raise ProtocolFault("The server asks the client again and again.", outcome="failed")

    def _asked_for_pages(self, run: Run, error: RpcError) -> Ended | None:
        """-32042, which 2026-07-28 does not know: its pages become questions, and the retry is a new try."""
        pages = rounds.pages_of(error.data)
        if not pages:
            raise ProtocolFault("The server wants pages opened, but names none.", outcome="failed")
        if any(rounds.refusal_of(page, run.request.client.capabilities) for page in pages.values()):
            needed: dict[str, Any] = {"requiredCapabilities": {"elicitation": {"url": {}}}}
            return run.erred(RpcError(MISSING_CAPABILITY, error.message, needed))
        self.require(run, pages, State(run.intent.call_id, upstream_id=run.call.spec.id, afresh=True))
        return None

    def require(self, run: Run, requests: Mapping[str, Any], state: State) -> None:
        """End the client's exchange with questions. Raises `ProtocolFault`, `TooLarge` when it cannot be asked."""
        client = run.request.client
        if any(rounds.refusal_of(request, client.capabilities) for request in requests.values()):
            raise ProtocolFault("The server asked for something that this client did not offer.", outcome="failed")
        if len(state.theirs or "") > self.limits.body_bytes // STATE_SHARE:
            raise TooLarge("The server's state is larger than a client could send back.", outcome="failed")
        self.ask(run, requests, state)

    def ask(self, run: Run, requests: Mapping[str, Any], state: State) -> None:
        """End the client's exchange with questions that it can answer."""
        until = int(time.time() + self.limits.person_s)
        state = structs.replace(state, until=until, approved=run.approved)
        run.reply.result(rounds.required(requests, rounds.seal(state, run.request)))
        if run.intent.effect != "allow":
            return  # a held call is on record as such
        asks = [request["method"] for request in requests.values()]
        asked = structs.replace(run.intent, kind=Kind.ASKED, at=epoch_us(), payload=b"", details={"asks": asks})
        self.audit.record_soon(asked)


def goes_on(request: Request, answer: Answer) -> bool:
    """Whether an answer is more than the plain end of a call."""
    if answer.error is not None:
        return answer.error.code == URL_REQUIRED and request.era == "modern"
    return answer.era == "modern" and relay.result_type(answer.result) != "complete"


def _needs(answer: Answer) -> Needs:
    needs = rounds.needs_of(answer.result)
    if needs is None:
        raise ProtocolFault("The server asked for input in a form that the protocol does not know.", outcome="failed")
    return needs


def _extended(run: Run, kind: str, answer: Answer) -> Ended:
    """A result of a kind that some extension defines: for clients that declared one, as it came."""
    extensions = run.request.client.capabilities.get("extensions") or {}
    known = tasks.EXTENSION in extensions if kind == "task" else bool(extensions)
    if run.request.era != "modern" or not known:
        raise ProtocolFault(
            "The server answered with a kind of result that this client does not know.", outcome="completed"
        )
    return run.answered(answer)
