"""One allowed call on its way, and how it ends toward its client and in the record."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from audit.events import Event, Kind, PayloadMode, Result
from gateway import relay, rewriting
from gateway.along import NO_HEADERS, along
from gateway.approved import Approved
from gateway.calls import Call
from gateway.errors import INVALID_PARAMS
from gateway.failures import Failure, rpc_error, tool_result
from gateway.router import Reach
from gateway.types import Notification, Reply, Request
from mcphub.core.clock import epoch_us
from mcphub.core.ids import new_call_id
from policies.types import Decision
from upstreams.errors import RpcError
from upstreams.transports import wire
from upstreams.types import BETWEEN, Answer, Exchange, Sink, UpstreamSpec

RESOURCE_NOT_FOUND = -32002
"""What handshake revisions say where 2026-07-28 says invalid parameters."""

TRACE_ID: Final = re.compile(r"\A[0-9a-f]{32}\Z")

Again = Callable[[Request], Awaitable[Reach]]
"""What a request may reach by now. Raises `NotFound` when its credential has ended."""

Ended = dict[str, Any]
"""What the outcome's event says of the end of a call."""


class Run(msgspec.Struct, frozen=True, eq=False):
    """A call on its way. `again` looks anew at what the client may reach, after a wait.

    `approved` says by which approval it is under way where no rule allows it.
    """

    request: Request
    reply: Reply
    reach: Reach
    call: Call
    intent: Event
    again: Again
    approved: Approved | None = None

    def exchange(self, sink: Sink, params: dict[str, Any]) -> Exchange:
        """One request to the upstream, whose questions and notifications go to `sink`."""
        request, call, trace = self.request, self.call, self.request.trace
        headers, claims = NO_HEADERS, ""
        if call.spec.forward_headers or call.spec.claims:
            headers, claims, trace = along(request, call.spec, self.intent.call_id)
        return Exchange(
            method=request.method,
            params=params,
            sink=sink,
            client=request.client,
            holder=holder_of(request, call.spec),
            progress=request.progress_token is not None,
            resend=call.resend,
            call_id=self.intent.call_id,
            trace=trace,
            caller=request.principal.id,
            log_level=request.client.log_level or (None if request.era == "modern" else ""),
            param_headers=request.param_headers,
            headers=headers,
            claims=claims,
        )

    def answered(self, answer: Answer) -> Ended:
        """Hand the upstream's answer on. Raises `relay.NotAnObject`."""
        if answer.error is not None:
            return self.erred(answer.error)
        raw = rewriting.rewrite(answer.result, self.call, self.reach)
        result = relay.for_client(raw, upstream=answer.era, client=self.request.era, cacheable=self.call.cacheable)
        self.reply.result(result)
        return {"outcome": Result.COMPLETED, "result_bytes": len(result)}

    def erred(self, error: RpcError) -> Ended:
        """Hand a JSON-RPC error on, in a code that the client's era knows."""
        if error.code == RESOURCE_NOT_FOUND and self.request.era == "modern":
            error = RpcError(INVALID_PARAMS, error.message, error.data)
        self.reply.error(error)
        return {"outcome": Result.FAILED, "reason": "upstream_error", "details": {"code": error.code}}

    def failed(self, failure: Failure) -> Ended:
        """Tell the client that the call did not end well."""
        fail(self.request, self.reply, failure, self.intent.call_id)
        return {"outcome": failure.outcome, "reason": failure.reason}


def intent_of(request: Request, call: Call, decision: Decision, call_id: str = "") -> Event:
    """The event before dispatch; of a later round when `call_id` is given."""
    principal = request.principal
    return Event(
        kind=Kind.RESUMED if call_id else Kind.INTENT,
        at=epoch_us(),
        org_id=principal.org.id,
        org=principal.org.slug,
        call_id=call_id or new_call_id(),
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
        trace_id=trace_id(request.trace),
        source=request.source,
        payload=encode_arguments(call.arguments),
        payload_mode=PayloadMode(call.spec.payload_mode),
    )


def trace_id(trace: Mapping[str, str]) -> str:
    """The trace id of a W3C `traceparent`; "" when there is none, or something else in its place."""
    found = trace.get("traceparent", "")[3:35]
    return found if TRACE_ID.match(found) else ""


def fail(request: Request, reply: Reply, failure: Failure, call_id: str) -> None:
    """Answer with a failure: as the tool's result, or as the JSON-RPC error of any other method."""
    if request.method != "tools/call":
        reply.error(rpc_error(failure, call_id))
        return
    result = tool_result(failure, call_id)
    reply.result(relay.to_modern(result) if request.era == "modern" else result)


def encode_arguments(arguments: Mapping[str, Any]) -> bytes:
    """JSON text of arguments as the record keeps them."""
    return wire.encode(arguments) if arguments else b""


def holder_of(request: Request | Notification, spec: UpstreamSpec) -> str:
    """The sharing scope of the connection that a request runs on (DESIGN §5, connections)."""
    if spec.sharing == "per-user":
        return request.principal.id
    if spec.sharing == "per-session":
        return _of_session(request, spec) if request.session else request.principal.id
    return ""


def _of_session(request: Request | Notification, spec: UpstreamSpec) -> str:
    """A session's own connection; where people have accounts of their own, with whose it is."""
    session = request.session.id if request.session else ""
    return f"{request.principal.id}{BETWEEN}{session}" if spec.credential_mode == "per-user" else session
