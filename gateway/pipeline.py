"""The way of a call: decided, recorded, relayed, recorded. Nothing else calls an upstream for a client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from audit.events import AuditUnavailable, Event, Kind, PayloadMode, Result
from audit.writer import Writer
from gateway import relay, rewriting
from gateway.calls import READERS, Call, Refused
from gateway.failures import AUDIT_UNAVAILABLE, Failure, rpc_error, tool_result, unknown
from gateway.router import Reach
from gateway.types import Reply, Request, Unavailable
from mcphub.core.clock import epoch_us, monotonic
from mcphub.core.ids import new_call_id
from policies.types import Decision
from upstreams.connections import Connections
from upstreams.errors import ProtocolFault, RpcError, UpstreamError
from upstreams.types import Answer, Exchange

NOUNS: Final = {"tools/call": "tool", "prompts/get": "prompt", "resources/read": "resource"}


@dataclass(slots=True)
class Pipeline:
    """Bound to this process's connections and its audit writer."""

    connections: Connections
    audit: Writer

    async def run(self, request: Request, reply: Reply, reach: Reach) -> None:
        """Answer one call. Raises `Unavailable` when its intent cannot be made durable."""
        try:
            call = READERS[request.method](request.params, reach)
        except Refused as refused:
            reply.error(refused.error)
            return
        call_id = new_call_id()
        decision = reach.decide(call.target, lambda: call.arguments)
        if decision.effect != "allow":
            self._deny(request, reply, reach, call, call_id, decision)
            return
        await self._intend(self._event(Kind.INTENT, request, reach, call, call_id, decision))
        await self._dispatch(request, reply, reach, call, call_id, decision)

    def _deny(
        self, request: Request, reply: Reply, reach: Reach, call: Call, call_id: str, decision: Decision
    ) -> None:
        self.audit.record_soon(self._event(Kind.DENIED, request, reach, call, call_id, decision))
        if not reach.shows(call.target):
            reply.error(unknown(NOUNS.get(request.method, "prompt"), call.shown_as))
            return
        reason: Any = "approval_pending" if decision.effect == "ask" else "denied"
        failure = Failure(reason, f"Policy does not allow this call: {decision.reason}.", "not_sent")
        self._fail(request, reply, failure, call_id)

    async def _intend(self, event: Event) -> None:
        try:
            await self.audit.record(event)
        except AuditUnavailable:
            raise Unavailable(
                RpcError(AUDIT_UNAVAILABLE, "The call cannot be recorded right now, so it was not made.")
            ) from None

    async def _dispatch(
        self, request: Request, reply: Reply, reach: Reach, call: Call, call_id: str, decision: Decision
    ) -> None:
        started = monotonic()
        ended: dict[str, Any] = {"outcome": Result.UNKNOWN, "reason": "cancelled"}
        try:
            answer = await self.connections.call(call.spec, self._exchange(request, reply, call, call_id))
            ended = self._relay(request, reply, reach, call, answer)
        except UpstreamError as error:
            ended = {"outcome": error.outcome, "reason": error.reason}
            self._fail(request, reply, Failure.of(error), call_id)
        except relay.NotAnObject:
            ended = {"outcome": Result.COMPLETED, "reason": "protocol"}
            fault = ProtocolFault("The server answered with something that is no result.", outcome="completed")
            self._fail(request, reply, Failure.of(fault), call_id)
        finally:
            event = self._event(Kind.OUTCOME, request, reach, call, call_id, decision)
            latency = int((monotonic() - started) * 1_000_000)
            self.audit.record_soon(event_with(event, latency_us=latency, **ended))

    def _exchange(self, request: Request, reply: Reply, call: Call, call_id: str) -> Exchange:
        return Exchange(
            method=request.method,
            params=call.params,
            sink=reply,
            client=request.client,
            holder=holder_of(request, call),
            progress=request.progress_token is not None,
            resend=call.resend,
            call_id=call_id,
            trace=request.trace,
        )

    def _relay(self, request: Request, reply: Reply, reach: Reach, call: Call, answer: Answer) -> Mapping[str, Any]:
        if answer.error is not None:
            reply.error(answer.error)
            return {"outcome": Result.FAILED, "reason": "upstream_error", "details": {"code": answer.error.code}}
        raw = rewriting.rewrite(answer.result, call, reach)
        result = relay.for_client(raw, upstream=answer.era, client=request.era, cacheable=call.cacheable)
        reply.result(result)
        return {"outcome": Result.COMPLETED, "result_bytes": len(result)}

    def _fail(self, request: Request, reply: Reply, failure: Failure, call_id: str) -> None:
        if request.method != "tools/call":
            reply.error(rpc_error(failure, call_id))
            return
        result = tool_result(failure, call_id)
        reply.result(relay.to_modern(result) if request.era == "modern" else result)

    def _event(
        self, kind: Kind, request: Request, reach: Reach, call: Call, call_id: str, decision: Decision
    ) -> Event:
        principal = request.principal
        return Event(
            kind=kind,
            at=epoch_us(),
            org_id=principal.org.id,
            org=principal.org.slug,
            call_id=call_id,
            principal_id=principal.id,
            principal=principal.label,
            credential=principal.credential,
            application=principal.application,
            method=request.method,
            upstream=call.spec.slug,
            name=call.target.name,
            risk=call.target.risk,
            effect=decision.effect,
            rule=decision.rule,
            reason="" if decision.effect == "allow" else decision.reason,
            request_bytes=request.received_bytes,
            trace_id=request.trace.get("traceparent", "")[3:35],
            source=request.source,
            payload=b"" if kind is Kind.OUTCOME else encode_arguments(call.arguments),
            payload_mode=PayloadMode(call.spec.payload_mode),
        )


def event_with(event: Event, **changes: Any) -> Event:
    """A copy of the event with some fields changed."""
    import dataclasses

    return dataclasses.replace(event, **changes)


def encode_arguments(arguments: Mapping[str, Any]) -> bytes:
    """JSON text of arguments as the record keeps them."""
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":")).encode() if arguments else b""


def holder_of(request: Request, call: Call) -> str:
    """The sharing scope of the connection that the call runs on (DESIGN §5, connections)."""
    if call.spec.sharing == "per-user":
        return request.principal.id
    if call.spec.sharing == "per-session":
        return request.session.id if request.session else request.principal.id
    return ""
