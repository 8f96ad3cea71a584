"""Clients of both eras that call all kinds of things at once, under equal ids, and notice what is lost or crossed."""

import asyncio
import itertools
import json
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.harness.raw import ACCEPT, HANDSHAKE, MODERN, PROTOCOL
from tests.harness.waiting import until
from tests.scale.conftest import Counted

WATCHED: Final = "news://a"
FORMS: Final = {"elicitation": {"form": {}}}
KINDS: Final = {"echo": 60, "tally": 14, "count": 15, "colours": 6, "give_up": 3, "touch": 2}
"""Of a hundred calls, so many of each kind."""


@dataclass
class Seen:
    """What all of them have seen together."""

    answers: Counter[str] = field(default_factory=Counter)
    tallies: list[int] = field(default_factory=list)
    given_up: set[str] = field(default_factory=set)


class Caller(ABC):
    """One client. `number` tells it from the others; its requests have the ids that all others use too."""

    capabilities: Final = FORMS

    def __init__(self, http: httpx.AsyncClient, url: str, key: str, number: int, seen: Seen) -> None:
        self.number: Final = number
        self.told: Final = asyncio.Event()
        self._http: Final = http
        self._url: Final = url
        self._headers: dict[str, str] = {"accept": ACCEPT, "authorization": f"Bearer {key}"}
        self._seen: Final = seen
        self._ids: Final = itertools.count(1)
        self._random: Final = random.Random(number)

    async def work(self, calls: int) -> None:
        """Make so many calls, of each kind its share."""
        kinds = self._random.sample([*KINDS], counts=[share * calls // 100 for share in KINDS.values()], k=calls)
        for kind in kinds:
            await getattr(self, kind)()
            self._seen.answers[kind] += 1

    async def echo(self) -> None:
        nonce = f"{self.number} {self._random.random()} " + "x" * self._random.randrange(3_000)
        assert await self._text("counting__echo", {"text": nonce}) == nonce

    async def tally(self) -> None:
        self._seen.tallies.append(int(await self._text("counting__tally", {})))

    async def count(self) -> None:
        to = self._random.randrange(1, 6)
        steps: list[int] = []
        assert await self._text("counting__count", {"to": to}, steps) == str(to)
        assert steps == sorted(steps), "progress of another call"
        assert all(step <= to for step in steps), "progress of another call"

    async def colours(self) -> None:
        told = await self._text("asking__colours", {})
        assert told == ", ".join(f"{self.number} Colour {number}?" for number in range(2))

    async def touch(self) -> None:
        self.told.clear()
        await self._text("telling__touch", {"uri": WATCHED})
        await self.told.wait()

    async def give_up(self) -> None:
        """Begin a call that never ends by itself, and call it off."""
        gate = f"{self.number}-{next(self._ids)}"
        await self._give_up("counting__pass_gate", {"gate": gate})
        self._seen.given_up.add(gate)

    async def _text(self, tool: str, arguments: dict[str, Any], steps: list[int] | None = None) -> str:
        result = await self._call(tool, arguments, [] if steps is None else steps)
        assert not result.get("isError"), result
        return str(result["content"][0]["text"])

    def _coloured(self, question: dict[str, Any]) -> dict[str, Any]:
        colour = f"{self.number} {question['message']}"
        return {"action": "accept", "content": {"colour": colour}}

    def _message(self, tool: str, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
        meta = {"progressToken": "t", **more.pop("meta", {})}
        params = {"name": tool, "arguments": arguments, "_meta": meta, **more}
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": "tools/call", "params": params}

    @asynccontextmanager
    async def _posted(self, message: dict[str, Any], **headers: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """What comes back for one message."""
        sent = {**self._headers, **headers}
        async with self._http.stream("POST", self._url, json=message, headers=sent) as response:
            assert response.status_code in (200, 202), (response.status_code, await response.aread())
            yield messages(response)

    @abstractmethod
    async def watch(self, stack: AsyncExitStack) -> None:
        """Hear of updates of `WATCHED` until the stack ends."""

    @abstractmethod
    async def _call(self, tool: str, arguments: dict[str, Any], steps: list[int]) -> dict[str, Any]:
        """The result; progress goes to `steps`."""

    @abstractmethod
    async def _give_up(self, tool: str, arguments: dict[str, Any]) -> None: ...

    async def _hear(self, stream: AsyncIterator[dict[str, Any]], ready: asyncio.Event) -> None:
        async for message in stream:
            if message.get("method") == "notifications/resources/updated":
                assert message["params"]["uri"] == WATCHED
                self.told.set()
            ready.set()


class HandshakeCaller(Caller):
    """A session; its requests go through whatever process the door chooses."""

    async def connect(self) -> None:
        facts = {
            "protocolVersion": HANDSHAKE,
            "capabilities": self.capabilities,
            "clientInfo": {"name": "crowd", "version": "1"},
        }
        greeting = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": facts}
        answer = await self._http.post(self._url, json=greeting, headers=self._headers)
        self._headers["mcp-session-id"] = answer.headers["mcp-session-id"]
        self._headers["mcp-protocol-version"] = HANDSHAKE
        await self._tell("notifications/initialized", {})

    async def watch(self, stack: AsyncExitStack) -> None:
        await self.connect()
        stream = await stack.enter_async_context(self._http.stream("GET", self._url, headers=self._headers))
        hearing = asyncio.create_task(self._hear(messages(stream), asyncio.Event()))
        stack.callback(hearing.cancel)
        subscribe = {"jsonrpc": "2.0", "id": 0, "method": "resources/subscribe", "params": {"uri": WATCHED}}
        async with self._posted(subscribe) as answers:
            assert (await anext(answers))["result"] == {}

    async def _tell(self, method: str, params: dict[str, Any]) -> None:
        await self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def _send(self, message: dict[str, Any]) -> None:
        answer = await self._http.post(self._url, json=message, headers=self._headers)
        assert answer.status_code == 202, answer.text

    async def _call(self, tool: str, arguments: dict[str, Any], steps: list[int]) -> dict[str, Any]:
        asked = self._message(tool, arguments)
        async with self._posted(asked) as said:
            async for message in said:
                if message.get("method") == "notifications/progress":
                    steps.append(message["params"]["progress"])
                elif message.get("method") == "elicitation/create":
                    answer = self._coloured(message["params"])
                    await self._send({"jsonrpc": "2.0", "id": message["id"], "result": answer})
                else:
                    return result_of(message, asked)
        raise AssertionError(f"{tool}: the answer was lost")

    async def _give_up(self, tool: str, arguments: dict[str, Any]) -> None:
        asked = self._message(tool, arguments)
        async with self._posted(asked) as said:
            first = await anext(said)
            assert first.get("method") == "notifications/progress", first
            await self._tell("notifications/cancelled", {"requestId": asked["id"]})
            assert [message["error"]["code"] async for message in said] == [-32800]


class ModernCaller(Caller):
    """Independent requests."""

    async def watch(self, stack: AsyncExitStack) -> None:
        params = {"notifications": {"resourceSubscriptions": [WATCHED]}, "_meta": self._envelope()}
        listen = {"jsonrpc": "2.0", "id": 0, "method": "subscriptions/listen", "params": params}
        stream = await stack.enter_async_context(self._posted(listen, **self._named("subscriptions/listen")))
        ready = asyncio.Event()
        hearing = asyncio.create_task(self._hear(stream, ready))
        stack.callback(hearing.cancel)
        await ready.wait()

    def _envelope(self) -> dict[str, Any]:
        return {f"{PROTOCOL}/protocolVersion": MODERN, f"{PROTOCOL}/clientCapabilities": self.capabilities}

    def _named(self, method: str, name: str = "") -> dict[str, str]:
        return {"mcp-protocol-version": MODERN, "mcp-method": method} | ({"mcp-name": name} if name else {})

    async def _call(self, tool: str, arguments: dict[str, Any], steps: list[int]) -> dict[str, Any]:
        more: dict[str, Any] = {}
        while True:
            result = await self._round(tool, arguments, steps, more)
            if result["resultType"] != "input_required":
                return result
            questions = result["inputRequests"].items()
            answers = {name: self._coloured(question["params"]) for name, question in questions}
            more = {"inputResponses": answers, "requestState": result["requestState"]}

    async def _round(
        self, tool: str, arguments: dict[str, Any], steps: list[int], more: dict[str, Any]
    ) -> dict[str, Any]:
        asked = self._message(tool, arguments, meta=self._envelope(), **more)
        async with self._posted(asked, **self._named("tools/call", tool)) as said:
            async for message in said:
                if message.get("method") == "notifications/progress":
                    steps.append(message["params"]["progress"])
                else:
                    return result_of(message, asked)
        raise AssertionError(f"{tool}: the answer was lost")

    async def _give_up(self, tool: str, arguments: dict[str, Any]) -> None:
        asked = self._message(tool, arguments, meta=self._envelope())
        async with self._posted(asked, **self._named("tools/call", tool)) as said:
            first = await anext(said)
            assert first.get("method") == "notifications/progress", first


def result_of(message: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """What answers the request."""
    assert message["id"] == asked["id"], message
    assert "result" in message, message
    return dict(message["result"])


async def messages(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON-RPC messages of a response, be it plain JSON or a stream."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        yield json.loads(await response.aread())
        return
    async for line in response.aiter_lines():
        if line.startswith("data:") and (data := line[5:].strip()):
            yield json.loads(data)


def expect_each_once(counted: Counted, seen: Seen) -> None:
    """The one child has run what was asked of it exactly once, and each call that was given up has ended there."""
    first = min(seen.tallies)
    assert sorted(seen.tallies) == list(range(first, first + len(seen.tallies)))
    assert len(counted.starts()) == 1
    ended = Counter(f"ended-{gate}" for gate in seen.given_up)
    until("the end of what was given up", lambda: ended <= Counter(counted.marks()))
    assert ended == Counter(mark for mark in counted.marks() if mark in ended)


async def crowd(url: str, keys: list[str], callers: int, calls: int) -> Seen:
    """Let so many callers, of both eras and with these keys in turn, make so many calls each."""
    seen = Seen()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60, limits=limits))
        eras = (HandshakeCaller, ModernCaller)
        own = [eras[n % 2](http, f"{url}/mcp", keys[n // 2 % len(keys)], n, seen) for n in range(callers)]
        for caller in own:
            await caller.watch(stack)
        async with asyncio.TaskGroup() as group:
            for caller in own:
                group.create_task(caller.work(calls))
        for caller in own:
            caller.told.clear()
        await own[0].touch()
        await asyncio.gather(*(caller.told.wait() for caller in own))
    return seen
