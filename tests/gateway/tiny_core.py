"""A core of a few lines, with which the edge can be met on its own."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from gateway.errors import METHOD_NOT_FOUND, STORAGE_UNAVAILABLE, TooManyAttempts
from gateway.types import Credentials, NotFound, Notification, Reply, Request, Route, Unauthenticated, Unavailable
from mcphub.core.principal import OrgRef, Principal
from upstreams.errors import RpcError

PEOPLE = {
    "alice-key": Principal("user:alice", "person", "Alice", OrgRef("o1", "default"), frozenset({"owner"})),
    "bob-key": Principal("user:bob", "person", "Bob", OrgRef("o1", "default"), frozenset({"viewer"})),
    "alice-elsewhere": Principal("user:alice", "person", "Alice", OrgRef("o2", "other"), frozenset({"owner"})),
}
TOOL = {"name": "echo", "inputSchema": {"type": "object"}}
LISTS = {"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources"}
SERVER = {"name": "tiny", "version": "1"}
CAPABILITIES = {"tools": {"listChanged": True}, "logging": {}}


class TinyCore:
    """Answers from memory; what happened to it can be read back with the tool `seen`."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.cancelled: list[str] = []
        self.finished: list[str] = []
        self.notes: list[str] = []
        self.answers: list[Any] = []
        self.push: Callable[..., bool] = lambda *_: False

    async def authenticate(self, credentials: Credentials, route: Route, source: str) -> Principal:
        return self.principal(credentials, route, source)

    def principal(self, credentials: Credentials, route: Route, source: str) -> Principal:
        if credentials.secret == "guess":
            raise TooManyAttempts(7)
        if credentials.secret == "storm":
            raise Unavailable(RpcError(STORAGE_UNAVAILABLE, "down"), 3)
        person = PEOPLE.get(credentials.secret)
        if person is None or credentials.secret in self.revoked:
            raise Unauthenticated
        if route.org == "hidden":
            raise NotFound
        return person

    async def fresh(self) -> None:
        return

    def carried(self, org_id: str, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
        return {}

    async def notified(self, note: Notification) -> None:
        self.notes.append(note.method)

    async def handle(self, request: Request, reply: Reply) -> None:
        if request.method == "tools/call":
            tool = getattr(self, "tool_" + request.params["name"])
            await tool(request, reply, request.params.get("arguments", {}))
        elif request.method in LISTS:
            listed = [TOOL] if request.method == "tools/list" else []
            self._end(request, reply, {LISTS[request.method]: listed})
        elif request.method in ("initialize", "server/discover", "ping"):
            self._end(request, reply, self._greeting(request))
        elif request.method == "subscriptions/listen":
            await self._listen(request, reply)
        else:
            reply.error(RpcError(METHOD_NOT_FOUND, "Method not found"))

    def _greeting(self, request: Request) -> dict[str, Any]:
        if request.method == "initialize":
            return {"protocolVersion": request.revision, "capabilities": CAPABILITIES, "serverInfo": SERVER}
        if request.method == "ping":
            return {}
        return {"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES, "serverInfo": SERVER}

    async def _listen(self, request: Request, reply: Reply) -> None:
        meta = {"io.modelcontextprotocol/subscriptionId": request.id}
        reply.notify("notifications/subscriptions/acknowledged", {"notifications": {}, "_meta": meta})
        await self._until_cancelled(request)

    async def tool_echo(self, request: Request, reply: Reply, arguments: dict[str, Any]) -> None:
        await asyncio.sleep(arguments.get("pause", 0))
        self._text(request, reply, json.dumps(arguments))

    async def tool_whoami(self, request: Request, reply: Reply, _: Any) -> None:
        self._text(request, reply, request.principal.label)

    async def tool_request(self, request: Request, reply: Reply, _: Any) -> None:
        facts = {
            "era": request.era,
            "revision": request.revision,
            "client": dict(request.client.info),
            "capabilities": dict(request.client.capabilities),
            "params": request.params,
            "token": request.progress_token,
            "trace": dict(request.trace),
            "session": request.session.id if request.session else None,
        }
        self._text(request, reply, json.dumps(facts))

    async def tool_progress(self, request: Request, reply: Reply, arguments: dict[str, Any]) -> None:
        for step in range(arguments["steps"]):
            reply.notify("notifications/progress", {"progress": step + 1, "total": arguments["steps"]})
        await asyncio.sleep(arguments.get("pause", 0))
        self._text(request, reply, "done")

    async def tool_ask(self, request: Request, reply: Reply, _: Any) -> None:
        params = {"message": "Your name?", "requestedSchema": {"type": "object", "properties": {}}}
        told = await reply.ask("elicitation/create", params)
        self._text(request, reply, f"error {told.code}" if isinstance(told, RpcError) else json.dumps(dict(told)))

    async def tool_wait(self, request: Request, reply: Reply, arguments: dict[str, Any]) -> None:
        if arguments.get("begun"):
            reply.notify("notifications/message", {"level": "info", "data": "begun"})
        await self._until_cancelled(request)

    async def tool_flood(self, request: Request, reply: Reply, arguments: dict[str, Any]) -> None:
        try:
            for _ in range(arguments["events"]):
                reply.notify("notifications/message", {"level": "info", "data": "x" * arguments["bytes"]})
                await asyncio.sleep(0)
            await asyncio.sleep(arguments.get("pause", 0))
        except asyncio.CancelledError:
            self.cancelled.append(str(request.id))
            raise
        self._text(request, reply, "flooded")
        self.finished.append(str(request.id))

    async def tool_boom(self, request: Request, reply: Reply, _: Any) -> None:
        raise RuntimeError("the secret inside")

    async def tool_silent(self, request: Request, reply: Reply, _: Any) -> None:
        return

    async def tool_unavailable(self, request: Request, reply: Reply, _: Any) -> None:
        raise Unavailable(RpcError(STORAGE_UNAVAILABLE, "no storage"), 2)

    async def tool_push(self, request: Request, reply: Reply, _: Any) -> None:
        assert request.session is not None
        pushed = self.push(request.session.id, "notifications/tools/list_changed", {})
        self._text(request, reply, json.dumps(pushed))

    async def tool_revoke(self, request: Request, reply: Reply, arguments: dict[str, Any]) -> None:
        self.revoked.add(arguments["key"])
        self._text(request, reply, "revoked")

    async def tool_restore(self, request: Request, reply: Reply, arguments: dict[str, Any]) -> None:
        self.revoked.clear()
        self._text(request, reply, "restored")

    async def tool_seen(self, request: Request, reply: Reply, _: Any) -> None:
        seen = {"cancelled": self.cancelled, "finished": self.finished, "notes": self.notes}
        self._text(request, reply, json.dumps(seen))

    async def _until_cancelled(self, request: Request) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(str(request.id))
            raise

    def _text(self, request: Request, reply: Reply, text: str) -> None:
        self._end(request, reply, {"content": [{"type": "text", "text": text}]})

    def _end(self, request: Request, reply: Reply, result: dict[str, Any]) -> None:
        if request.era == "modern":
            result = {**result, "resultType": "complete"}
            if request.method != "tools/call":
                result |= {"ttlMs": 0, "cacheScope": "private"}
        reply.result(json.dumps(result).encode())
