"""The values between the edge (bytes) and the core of the gateway (what a request means)."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from mcphub.core.principal import Principal
from upstreams.errors import RpcError
from upstreams.types import ClientFacts, Era

RequestId = str | int


@dataclass(frozen=True, slots=True)
class Route:
    """An MCP endpoint, read from the path's syntax alone; "" where the path does not name a part.

    `wire` tells how it is spoken to: streamable HTTP, or one of the two paths of HTTP+SSE (2024-11-05). `tools` are
    the client's own globs (`?tools=`), sorted and with commas between; "" for all.
    """

    kind: Literal["aggregate", "org", "upstream", "toolset"]
    org: str = ""
    upstream: str = ""
    toolset: str = ""
    path: str = "/mcp"
    wire: Literal["streamable", "sse", "messages"] = "streamable"
    tools: str = ""

    @property
    def bound(self) -> str:
        """What sessions, cursors and states of this endpoint are sealed to."""
        return f"{self.path}?tools={self.tools}" if self.tools else self.path


class Credentials(msgspec.Struct, frozen=True):
    """What a client presented; `secret` is "" when it presented nothing."""

    scheme: Literal["none", "bearer", "api-key", "basic"]
    secret: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.scheme!r})"


class SessionRef(msgspec.Struct, frozen=True):
    """A handshake session that a request belongs to."""

    id: str
    revision: str
    client: ClientFacts


class Request(msgspec.Struct, frozen=True, eq=False):
    """One JSON-RPC request of a client, envelope checked. A Struct because one is made per call (see `audit.events`).

    `params` carries no reserved envelope keys; `progress_token` is None when no progress was asked for;
    `received_bytes` is the size of the body; `trace` holds traceparent, tracestate and baggage if sent;
    `param_headers` are the `Mcp-Param-*` headers of a modern `tools/call`, names in lower case; `headers` those
    others that some upstream of the org may be given.
    """

    route: Route
    principal: Principal
    era: Era
    revision: str
    id: RequestId
    method: str
    params: dict[str, Any]
    client: ClientFacts
    session: SessionRef | None = None
    progress_token: str | int | None = None
    source: str = ""
    received_bytes: int = 0
    trace: Mapping[str, str] = {}
    param_headers: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Notification:
    """A JSON-RPC notification of a client that the edge did not act on itself."""

    route: Route
    principal: Principal
    era: Era
    method: str
    params: dict[str, Any]
    session: SessionRef | None = None


class Reply(Protocol):
    """The way back to the client that made one request. Exactly one of `result` and `error` ends it."""

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification on this request's stream; the first one turns the answer into SSE."""

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | RpcError:
        """Send a request to the client on this request's stream and wait for its answer (handshake era)."""

    def result(self, raw: bytes) -> None:
        """End with this JSON text as the result, byte for byte."""

    def error(self, error: RpcError, http_status: int | None = None) -> None:
        """End with a JSON-RPC error."""


class Unauthenticated(Exception):
    """No acceptable credential: HTTP 401 with `WWW-Authenticate`."""


class NeedsScope(Exception):
    """The credential was issued without this scope: HTTP 403 with `WWW-Authenticate` (RFC 6750 section 3.1)."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the token lacks the scope {scope}")
        self.scope = scope


class NotFound(Exception):
    """The route names nothing that this principal may know of: HTTP 404."""


class Unavailable(Exception):
    """The hub cannot answer safely now: HTTP 503 with `Retry-After` and the JSON-RPC error."""

    def __init__(self, error: RpcError, retry_after: int = 1) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after


class GatewayCore(Protocol):
    """What the edge needs to know of the rest of the gateway."""

    def fresh(self) -> Awaitable[None]:
        """Wait until every change of config that this process made is in force. Raises `Unavailable`."""

    async def authenticate(self, credentials: Credentials, route: Route, source: str) -> Principal:
        """The principal behind the `credentials` of a request that arrives.

        A key that is unknown here may have been made by another process a moment ago, so the database is asked
        before it is refused. Raises `Unauthenticated`, `NeedsScope`, `TooManyAttempts`, `NotFound`, `Unavailable`.
        """

    def principal(self, credentials: Credentials, route: Route, source: str) -> Principal:
        """The principal behind `credentials`, from memory. Raises `Unauthenticated`, `NotFound`, `Unavailable`."""

    def carried(self, org_id: str, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """Those of a client's headers that some upstream of the org may be given; names in lower case."""

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request. Never raises for the upstream's or the policy's sake."""

    async def notified(self, note: Notification) -> None:
        """Take note of a client's notification."""
