"""A client without an SDK: what it sends and what comes back are the test's own."""

import itertools
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Literal

import httpx

Era = Literal["handshake", "modern"]
ERAS: Final[tuple[Era, Era]] = ("handshake", "modern")
Side = Era | Literal["both"]
SIDES: Final[tuple[Side, ...]] = (*ERAS, "both")
"""What a server speaks."""
HANDSHAKE: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
ACCEPT: Final = "application/json, text/event-stream"
PROTOCOL: Final = "io.modelcontextprotocol"
NAMED: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class RpcFailed(Exception):
    """The answer is a JSON-RPC error; `error` is its object, `status` the HTTP status."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(f"HTTP {status}: {error}")
        self.status = status
        self.error = error


class RawClient:
    """JSON-RPC over streamable HTTP in one era."""

    def __init__(self, http: httpx.AsyncClient, url: str, key: str, era: Era) -> None:
        self._http: Final = http
        self._url: Final = url
        self._era: Final = era
        self._ids: Final = itertools.count(1)
        self._session: dict[str, str] = {}
        self._headers: Final = {"Accept": ACCEPT}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    async def connect(self) -> Any:
        """Initialize, or discover; what the other side says of itself."""
        if self._era == "modern":
            return await self.request("server/discover", {})
        client = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        response = await self._post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client}, {})
        self._session = {"MCP-Protocol-Version": HANDSHAKE, "Mcp-Session-Id": response.headers["mcp-session-id"]}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await self._post(ready, self._session)).status_code == httpx.codes.ACCEPTED
        return _answer(response)

    async def request(self, method: str, params: Mapping[str, Any], *, id: Any = None) -> Any:
        """The result. Raises `RpcFailed`."""
        return _answer(await self.send(method, params, id=id))

    async def call(self, tool: str, id: Any = None, **arguments: Any) -> Any:
        """The result of a tool. Raises `RpcFailed`."""
        return await self.request("tools/call", {"name": tool, "arguments": arguments}, id=id)

    async def names(self, method: str = "tools/list", kind: str = "tools") -> list[str]:
        """The names of everything in a list, all pages of it."""
        found: list[str] = []
        params: dict[str, Any] = {}
        while True:
            page = await self.request(method, params)
            found += [entry["name"] for entry in page[kind]]
            if "nextCursor" not in page:
                return found
            params = {"cursor": page["nextCursor"]}

    def news(self) -> AbstractAsyncContextManager[httpx.Response]:
        """The stream of what belongs to no request: the session's own, or that of `subscriptions/listen`."""
        if self._era == "handshake":
            return self._http.stream("GET", self._url, headers={**self._headers, **self._session})
        params, own = _modern("subscriptions/listen", {"notifications": {}})
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": "subscriptions/listen", "params": params}
        return self._http.stream("POST", self._url, json=message, headers={**self._headers, **own})

    async def send(
        self, method: str, params: Mapping[str, Any], *, id: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The whole HTTP response to one request; `headers` go with it besides the protocol's."""
        own = dict(self._session)
        if self._era == "modern":
            params, own = _modern(method, params)
        message = {"jsonrpc": "2.0", "id": next(self._ids) if id is None else id, "method": method, "params": params}
        return await self._post(message, {**own, **(headers or {})})

    @property
    def session(self) -> Mapping[str, str]:
        """The headers that name this client's session; empty in the modern era."""
        return self._session

    async def post(self, message: Mapping[str, Any]) -> httpx.Response:
        """The whole HTTP response to any message, sent with the headers of this client's era."""
        own = {"MCP-Protocol-Version": MODERN} if self._era == "modern" else self._session
        return await self._post(message, own)

    async def _post(self, message: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
        return await self._http.post(self._url, json=message, headers={**self._headers, **headers})


@asynccontextmanager
async def raw_client(url: str, key: str, era: Era) -> AsyncIterator[RawClient]:
    """A connected client."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        client = RawClient(http, url, key, era)
        await client.connect()
        yield client


def ask(url: str, key: str, method: str, params: Mapping[str, Any]) -> Any:
    """One request of the modern era, which needs nothing before it; the result. Raises `RpcFailed`."""
    params, headers = _modern(method, params)
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers |= {"Accept": ACCEPT, "Authorization": f"Bearer {key}"}
    return _answer(httpx.post(url, json=message, headers=headers, timeout=30, trust_env=False))


def _modern(method: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Parameters with their envelope, and the headers that go with them."""
    facts: dict[str, Any] = {"protocolVersion": MODERN, "clientCapabilities": {}}
    envelope = {f"{PROTOCOL}/{name}": value for name, value in facts.items()}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if method in NAMED:
        headers["Mcp-Name"] = params[NAMED[method]]
    return {**params, "_meta": {**envelope, **params.get("_meta", {})}}, headers


def _answer(response: httpx.Response) -> Any:
    message = answer_of(response)
    if "error" in message:
        raise RpcFailed(response.status_code, message["error"])
    return message["result"]


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON-RPC message that ends a response, be it plain JSON or a stream."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        return dict(response.json())
    lines = re.split(r"\r\n|\n|\r", response.text)
    data = [line[5:] for line in lines if line.startswith("data:")]
    messages = [json.loads(each) for each in data if each.strip()]
    return dict(next(message for message in reversed(messages) if "id" in message))
