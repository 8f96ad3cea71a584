"""The way of a call: decided, recorded, relayed, recorded. Nothing else calls an upstream for a client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import structs

from audit.events import AuditUnavailable, Event, Kind, PayloadMode, Result
from audit.flood import Denials
from audit.writer import Writer
from gateway import relay, rewriting
from gateway.calls import READERS, Call, Refused
from gateway.errors import AUDIT_UNAVAILABLE
from gateway.failures import Failure, Reason, rpc_error, tool_result, unknown
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
    denials: Denials

    async def run(self, request: Request, reply: Reply, reach: Reach) -> None:
        """Answer one call. Raises `Unavailable` when its intent cannot be made durable."""
        try:
            call = READERS[request.method](request.params, reach)
        except Refused as refused:
            reply.error(refused.error)
            return
        decision = reach.decide(call.target, lambda: call.arguments)
        event = _intent(request, call, decision)
        if decision.effect == "allow":
            await self._intend(event)
            await self._dispatch(request, reply, reach, call, event)
        else:
            self.denials.add(structs.replace(event, kind=Kind.DENIED))
            _deny(request, reply, reach, call, event)

    async def _intend(self, intent: Event) -> None:
        try:
            await self.audit.record(intent)
        except AuditUnavailable:
            raise Unavailable(
                RpcError(AUDIT_UNAVAILABLE, "The call cannot be recorded right now, so it was not made.")
            ) from None

    async def _dispatch(self, request: Request, reply: Reply, reach: Reach, call: Call, intent: Event) -> None:
        started = monotonic()
        ended: dict[str, Any] = {"outcome": Result.UNKNOWN, "reason": "cancelled"}
        try:
            answer = await self.connections.call(call.spec, _exchange(request, reply, call, intent.call_id))
            ended = _relay(request, reply, reach, call, answer)
        except UpstreamError as error:
            ended = {"outcome": error.outcome, "reason": error.reason}
            _fail(request, reply, Failure.of(error), intent.call_id)
        except relay.NotAnObject:
            fault = ProtocolFault("The server answered with something that is no result.", outcome="completed")
            ended = {"outcome": fault.outcome, "reason": fault.reason}
            _fail(request, reply, Failure.of(fault), intent.call_id)
        finally:
            latency = int((monotonic() - started) * 1_000_000)
            self.audit.record_soon(
                structs.replace(intent, kind=Kind.OUTCOME, at=epoch_us(), payload=b"", latency_us=latency, **ended)
            )


def _intent(request: Request, call: Call, decision: Decision) -> Event:
    principal = request.principal
    return Event(
        kind=Kind.INTENT,
        at=epoch_us(),
        org_id=principal.org.id,
        org=principal.org.slug,
        call_id=new_call_id(),
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
        payload=encode_arguments(call.arguments),
        payload_mode=PayloadMode(call.spec.payload_mode),
    )


def _deny(request: Request, reply: Reply, reach: Reach, call: Call, denied: Event) -> None:
    """Say no: as the tool's result where the tool may be seen, else as if it did not exist (F52)."""
    if not reach.shows(call.target):
        reply.error(unknown(NOUNS.get(request.method, "prompt"), call.shown_as))
        return
    reason: Reason = "approval_pending" if denied.effect == "ask" else "denied"
    failure = Failure(reason, f"Policy does not allow this call: {denied.reason}.", "not_sent")
    _fail(request, reply, failure, denied.call_id)


def _exchange(request: Request, reply: Reply, call: Call, call_id: str) -> Exchange:
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


def _relay(request: Request, reply: Reply, reach: Reach, call: Call, answer: Answer) -> dict[str, Any]:
    """Hand the answer on; what the outcome's event says of it."""
    if answer.error is not None:
        reply.error(answer.error)
        return {"outcome": Result.FAILED, "reason": "upstream_error", "details": {"code": answer.error.code}}
    raw = rewriting.rewrite(answer.result, call, reach)
    result = relay.for_client(raw, upstream=answer.era, client=request.era, cacheable=call.cacheable)
    reply.result(result)
    return {"outcome": Result.COMPLETED, "result_bytes": len(result)}


def _fail(request: Request, reply: Reply, failure: Failure, call_id: str) -> None:
    if request.method != "tools/call":
        reply.error(rpc_error(failure, call_id))
        return
    result = tool_result(failure, call_id)
    reply.result(relay.to_modern(result) if request.era == "modern" else result)


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
