"""The rounds of one call: what a server asks in the middle of it, and the sealed state that a retry brings back.

A modern client sees a question as an `input_required` result and sends the same request again with
`inputResponses` and the exact `requestState` (2026-07-28, multi round-trip requests). The state is the
hub's: sealed, bound to principal, route and request, and of limited life. Nothing here does I/O.
"""

import hashlib
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from gateway.approved import Approved
from gateway.errors import INVALID_PARAMS, METHOD_NOT_FOUND
from gateway.types import Request
from mcphub.core.keyring import KeyringError, keyring
from upstreams.errors import RpcError
from upstreams.types import ClientFacts

PURPOSE: Final = "request-state"
INPUT_REQUIRED: Final = "input_required"
RESPONSES: Final = "inputResponses"
STATE: Final = "requestState"
OF_THE_ROUND: Final = frozenset({RESPONSES, STATE, "_meta"})

CAPABILITY_OF: Final[Mapping[str, str]] = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
"""What a server may ask in the middle of a call → what the client must have declared for it."""

BAD_STATE: Final = RpcError(INVALID_PARAMS, "requestState is not valid for this request, or has expired")


class BadState(Exception):
    """A `requestState` that is forged, expired, or belongs to another principal or request."""


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a `requestState` of the hub holds.

    `until` is the end of its life in seconds since 1970. `parked`: the id of the worker where the call waits.
    Without, it is sent to `upstream_id` again with `theirs`, the upstream's own state (None when it gave none),
    or `afresh`, without any trace of the round; after what it `awaits` (`gateway.pages`), `asked_at` since 1970.
    `approved`: by which approval the call is under way.
    """

    call_id: str
    until: int = 0
    parked: str = ""
    upstream_id: str = ""
    theirs: str | None = None
    afresh: bool = False
    awaits: str = ""
    asked_at: float = 0
    approved: Approved | None = None


def seal(state: State, request: Request) -> str:
    """The text that opens only for the same principal, route and request."""
    return keyring().seal(PURPOSE, json.dumps(msgspec.to_builtins(state)).encode(), _bound_to(request))


def unseal(request: Request) -> State:
    """The state that `request` brings back. Raises `BadState`."""
    sealed = request.params[STATE]
    if not isinstance(sealed, str):
        raise BadState
    try:
        plain = keyring().open(PURPOSE, sealed, _bound_to(request))
    except (KeyringError, ValueError):
        raise BadState from None
    state = msgspec.convert(json.loads(plain), State)
    if state.until < time.time():
        raise BadState
    return state


def _bound_to(request: Request) -> bytes:
    own = {name: value for name, value in request.params.items() if name not in OF_THE_ROUND}
    body = json.dumps([request.method, own], sort_keys=True, separators=(",", ":")).encode()
    principal = request.principal
    parts = (principal.id, principal.org.id, request.route.bound, hashlib.sha256(body).hexdigest())
    return "\n".join(parts).encode()


def responses(params: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """The client's answers by key; None when they are malformed."""
    given = params.get(RESPONSES)
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(answer, dict) for answer in given.values()):
        return None
    return given


def without_round(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they were before any round."""
    return {name: value for name, value in params.items() if name not in (RESPONSES, STATE)}


def with_round(params: Mapping[str, Any], answers: Mapping[str, Any], state: str | None) -> dict[str, Any]:
    """Parameters of the next round: the answers, and the server's state exactly as it gave it."""
    own = without_round(params)
    if answers:
        own[RESPONSES] = answers
    if state is not None:
        own[STATE] = state
    return own


# --- what a server asks -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needs:
    """What an `input_required` result asks: requests by key, and the server's own state if it gave one."""

    requests: Mapping[str, Mapping[str, Any]]
    state: str | None


def needs_of(raw: bytes) -> Needs | None:
    """The content of an `input_required` result; None when it is malformed."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    requests, state = body.get("inputRequests") or {}, body.get(STATE)
    if not isinstance(requests, dict) or not isinstance(state, str | None) or not (requests or state):
        return None
    if not all(_is_request(each) for each in requests.values()):
        return None
    return Needs(requests, state)


def _is_request(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("params", {}), dict):
        return False
    return isinstance(value.get("method"), str) and value["method"] in CAPABILITY_OF


def pages_of(data: Any) -> dict[str, dict[str, Any]]:
    """The pages that a -32042 error of 2025-11-25 wants opened, as requests by key; empty when it is malformed."""
    listed = data.get("elicitations") if isinstance(data, dict) else None
    pages = [page for page in listed if isinstance(page, dict)] if isinstance(listed, list) else []
    return {
        f"page-{number}": {"method": "elicitation/create", "params": {**page, "mode": "url"}}
        for number, page in enumerate(pages, 1)
    }


def required(requests: Mapping[str, Any], sealed: str) -> bytes:
    """The `input_required` result for a modern client."""
    body: dict[str, Any] = {"resultType": INPUT_REQUIRED, STATE: sealed}
    if requests:
        body["inputRequests"] = requests
    return json.dumps(body, separators=(",", ":")).encode()


def refusal(method: str, params: Mapping[str, Any], capabilities: Mapping[str, Any]) -> RpcError | None:
    """Why a client with these capabilities may not be asked this; None when it may."""
    needed = requirement(method, params)
    if needed is not None and _covers(needed, capabilities):
        return None
    code = METHOD_NOT_FOUND if needed is None or not needed.keys() <= capabilities.keys() else INVALID_PARAMS
    return RpcError(code, f"The client did not declare what {method} needs")


def refusal_of(request: Mapping[str, Any], capabilities: Mapping[str, Any]) -> RpcError | None:
    """The same for a request as it stands in `inputRequests`."""
    return refusal(request["method"], request.get("params") or {}, capabilities)


def without(client: ClientFacts, withheld: Collection[str]) -> ClientFacts:
    """A client as an upstream sees it that may not ask for what is `withheld`."""
    offered = {name: value for name, value in client.capabilities.items() if name not in withheld}
    return msgspec.structs.replace(client, capabilities=offered)


def requirement(method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The capabilities that a question needs, in the specification's shape; None for a method nobody may send."""
    capability = CAPABILITY_OF.get(method)
    if capability is None:
        return None
    if method == "elicitation/create":
        return {capability: {mode_of(params): {}}}
    if method == "sampling/createMessage" and ("tools" in params or "toolChoice" in params):
        return {capability: {"tools": {}}}
    return {capability: {}}


def mode_of(params: Mapping[str, Any]) -> Literal["form", "url"]:
    """How a person is asked; form unless the server says otherwise."""
    return "url" if params.get("mode") == "url" else "form"


def _covers(needed: Mapping[str, Mapping[str, Any]], capabilities: Mapping[str, Any]) -> bool:
    """An empty elicitation capability means forms (2025-11-25, elicitation capabilities)."""
    for name, parts in needed.items():
        declared = capabilities.get(name)
        if not isinstance(declared, dict):
            return False
        if name == "elicitation" and not {"form", "url"} & declared.keys():
            declared = {"form": {}}
        if not parts.keys() <= {part for part, value in declared.items() if value is not None}:
            return False
    return True
