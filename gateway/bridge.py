"""Handshake clients in the middle of a call: whoever the upstream is, they are asked on the call's own stream."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gateway import rounds
from gateway.errors import INTERNAL_ERROR
from gateway.rounds import Needs
from gateway.types import Reply
from upstreams.errors import ProtocolFault, RpcError
from upstreams.types import ClientFacts

WITHDRAWN: Final = RpcError(INTERNAL_ERROR, "The hub no longer allows this call")

Told = Mapping[str, Any] | RpcError
Resume = Callable[[], Awaitable[bool]]


class ClientRefused(Exception):
    """The client answered a question with an error that the upstream's era cannot be told of."""

    def __init__(self, error: RpcError) -> None:
        super().__init__(error.message)
        self.error = error


class Asker:
    """The sink of a call on a handshake upstream: asks only what the client declared, and `resume`s afterwards."""

    __slots__ = ("_client", "_reply", "_resume")

    def __init__(self, reply: Reply, client: ClientFacts, resume: Resume) -> None:
        self._reply = reply
        self._client = client
        self._resume = resume

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self._reply.notify(method, params)

    async def ask(self, method: str, params: Mapping[str, Any]) -> Told:
        """The client's answer, unless the call is not allowed any more."""
        refused = rounds.refusal(method, params, self._client.capabilities)
        if refused is not None:
            return refused
        told = await self._reply.ask(method, params)
        return told if await self._resume() else WITHDRAWN


async def put(needs: Needs, reply: Reply, client: ClientFacts, call_id: str) -> dict[str, Mapping[str, Any]]:
    """Ask the client everything that a modern upstream needs; its answers by key.

    What a person cannot be asked here counts as declined. Raises `ClientRefused` when a question that knows no
    other answer than a result was refused, `ProtocolFault` when the client never offered what it is asked for.
    """
    answers: dict[str, Mapping[str, Any]] = {}
    for key, request in needs.requests.items():
        method, params = request["method"], request.get("params") or {}
        if rounds.refusal(method, params, client.capabilities) is not None:
            told: Told | None = None
        else:
            told = await reply.ask(method, _for_handshake(method, params, f"{call_id}-{key}"))
        answers[key] = _answer(method, told)
    return answers


def _for_handshake(method: str, params: Mapping[str, Any], id_: str) -> Mapping[str, Any]:
    """A question as 2025-11-25 words it, where a page to open carries an id."""
    if method == "elicitation/create" and rounds.mode_of(params) == "url":
        return {"elicitationId": id_, **params}
    return params


def _answer(method: str, told: Told | None) -> Mapping[str, Any]:
    if isinstance(told, Mapping):
        return told
    if method == "elicitation/create":
        return {"action": "decline" if told is None else "cancel"}
    if told is None:
        raise ProtocolFault("The server asked for something that this client did not offer.", outcome="failed")
    raise ClientRefused(told)
