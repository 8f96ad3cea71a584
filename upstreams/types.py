"""The values that cross the seam between the gateway and the upstreams."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import msgspec

from upstreams.errors import RpcError
from upstreams.secretfiles import SecretFile

Era = Literal["handshake", "modern"]
Transport = Literal["auto", "http", "sse", "stdio", "agent"]
Sharing = Literal["shared", "per-user", "per-session"]

MODERN: Final = "2026-07-28"
BETWEEN: Final = "|"
"""Between principal and session in the sharing scope of a connection that is one session's and one account's."""

HANDSHAKE_REVISIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """How to reach one upstream: its row at one revision, variables filled in. Secrets are inside: no repr.

    `era` is what a probe found ("" = not probed yet, "both" = modern, and sessions too); times are seconds.
    `revision` changes whenever anything changes that a running connection would have to be made anew for.
    `files` are secret files of a command by variable; marks stand for their paths (`upstreams.secretfiles`).
    `forward_headers` (lower case) may go on from clients; `claims` is "header" or "meta" when the upstream, as
    `audience`, is told who is calling. `withheld` are client capabilities (sampling, elicitation, roots) that this
    upstream is never offered.
    `credential_mode` says whose account calls run under, `credential_kind` how it was connected; an API key goes into
    the header (of a command: the variable) `key_header`, in place of `{key}` in `key_format`.
    """

    id: str
    org_id: str
    slug: str
    revision: int
    transport: Transport
    url: str = ""
    command: str = field(default="", repr=False)
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    sharing: Sharing = "shared"
    era: Era | Literal["", "both"] = ""
    connect_s: float = 5
    call_s: float = 60
    call_hard_s: float = 300
    heartbeat_s: float = 30
    discovery_s: float = 300
    egress_allow: tuple[str, ...] = ()
    idempotent: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    payload_mode: str = "redacted"
    name: str = ""
    withheld: frozenset[str] = frozenset()
    files: Mapping[str, SecretFile] = field(default_factory=dict, repr=False)
    forward_headers: frozenset[str] = frozenset()
    claims: Literal["", "header", "meta"] = ""
    audience: str = ""
    credential_mode: Literal["none", "shared", "per-user"] = "none"
    credential_kind: Literal["api-key", "oauth"] = "api-key"
    key_header: str = "Authorization"
    key_format: str = "Bearer {key}"

    def account_of(self, holder: str) -> str | None:
        """Whose credential the connection of this sharing scope presents: a principal's, "" for the shared one.

        None: no account's, which is so as well for the hub's own questions where everybody has their own.
        """
        if self.credential_mode == "none":
            return None
        if self.credential_mode == "shared":
            return ""
        return holder.partition(BETWEEN)[0] or None


class ClientFacts(msgspec.Struct, frozen=True):
    """What this client declared, already narrowed by policy: the most that an upstream may be offered.

    `era` is the one that it speaks; the hub's own requests count as modern.
    """

    capabilities: Mapping[str, Any] = {}
    info: Mapping[str, Any] = {}
    log_level: str = ""
    era: Era = "modern"


class Sink(Protocol):
    """Where messages go that an upstream sends while an exchange is under way."""

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """A notification that belongs to this exchange (progress without its token, log message)."""

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | RpcError:
        """A request of the upstream to the client whose call caused it (sampling, elicitation, roots)."""


class Exchange(msgspec.Struct, eq=False):
    """One request to an upstream, in the upstream's own names. The connection mints its JSON-RPC id.

    `params` carries no reserved `_meta` keys and no progress token; the connection adds what the
    upstream's era needs. `holder` is the sharing scope: "" (shared), a principal id, or a session id.
    `resend` marks what may be sent twice: lists, reads, and tools that the operator marked idempotent.
    `caller` is the principal's id, "" for the hub's own requests; `log_level` the least severe log message that the
    sink takes, "" for whatever is sent, None for none. `param_headers` are `Mcp-Param-*` headers of the client, names
    in lower case; a modern upstream gets those that the hub does not make itself from the arguments. `headers` of the
    client go with this request over HTTP, but never in a session that several people share; `claims` is a signed
    header about the caller. `trace` are further members of `_meta`: trace context, and claims where they stand there.
    """

    method: str
    params: dict[str, Any]
    sink: Sink
    client: ClientFacts = ClientFacts()
    holder: str = ""
    progress: bool = False
    resend: bool = False
    call_id: str = ""
    trace: Mapping[str, str] = {}
    caller: str = ""
    log_level: str | None = None
    param_headers: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    claims: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What came back: `result` is the untouched JSON text of the result object, unless `error` is set."""

    era: Era
    result: bytes = b""
    error: RpcError | None = None


class ServerFacts(msgspec.Struct, frozen=True):
    """What an upstream said of itself when the connection was made (initialize or server/discover).

    `sessionless`: it keeps nothing between requests that belongs to one connection, so that every web
    process may have its own. `both`: it is modern, and serves sessions of the handshake era over HTTP as well.
    """

    era: Era
    revision: str
    capabilities: Mapping[str, Any] = {}
    info: Mapping[str, Any] = {}
    instructions: str = ""
    sessionless: bool = False
    both: bool = False


class Link(Protocol):
    """A live connection with one upstream, made and owned by `upstreams.connections`."""

    facts: ServerFacts

    async def request(self, exchange: Exchange) -> Answer:
        """Send and wait. Raises `UpstreamError`; cancelling the task cancels the call upstream."""

    async def subscribe(self, uris: Collection[str]) -> Mapping[str, RpcError]:
        """Ask to be told when these resources change; the refusals. Raises `UpstreamError`."""

    async def unsubscribe(self, uris: Collection[str]) -> None:
        """Ask to be told no more. Raises `UpstreamError`."""

    async def close(self) -> None:
        """End it and everything it started. Pending requests end as `Lost`."""
