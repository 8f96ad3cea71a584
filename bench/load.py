"""The load generator: closed loop, one connection a client, every answer checked.

`python -m bench.load JSON` takes a `Load` and prints a `Measured`, both as JSON. A wrong, missing or failed
answer ends the run with an error: a figure is only worth something when all answers were right.
"""

import asyncio
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

HANDSHAKE: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


class Load(msgspec.Struct, frozen=True):
    """What to do. `tool` is called in a closed loop; with `list_size` the list is asked for, and counted.

    `words` begin every text that is to come back.
    `cold`: each time over a new connection, from its opening to the first answer of the tool. `idle_sessions`: only
    make so many sessions; with `streams` each holds its event stream open until standard input ends.
    """

    url: str
    key: str = ""
    key_header: str = ""
    era: Literal["handshake", "modern"] = "handshake"
    tool: str = "echo"
    list_size: int = 0
    clients: int = 1
    seconds: float = 2
    warm_s: float = 0.5
    cold: bool = False
    idle_sessions: int = 0
    words: str = "token"
    streams: bool = False


class Measured(msgspec.Struct, frozen=True):
    """What came of it: calls in the timed part, all calls, milliseconds, and CPU of the generator per call in µs."""

    calls: int
    all_calls: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    own_cpu_us: float

    @property
    def per_second(self) -> float:
        return self.calls / self.seconds


class WrongAnswer(Exception):
    """An answer is not the one that the request asks for."""


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._headed: asyncio.Future[int] | None = None
        self.session = b""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    async def post(self, request: bytes, statuses: tuple[int, ...] = (200,)) -> bytes:
        """Send a whole HTTP request; the body of the answer. Raises `WrongAnswer`."""
        self._statuses = statuses
        self._body.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def send_only(self, request: bytes) -> None:
        """Send a request whose answer has no end."""
        self._headed = asyncio.get_running_loop().create_future()
        self._transport.write(request)

    async def headed(self) -> None:
        """Wait for the head of that answer. Raises `WrongAnswer`."""
        assert self._headed is not None
        if (status := await self._headed) != 200:
            raise WrongAnswer(f"HTTP {status} in place of a stream")

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        if self._headed is not None and not self._headed.done():
            self._headed.set_result(self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WrongAnswer("the connection was closed"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"mcp-session-id":
            self.session = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status, answer = self._parser.get_status_code(), self._answer
        if answer is None or answer.done():
            return
        if status in self._statuses:
            answer.set_result(bytes(self._body))
        else:
            answer.set_exception(WrongAnswer(f"HTTP {status}: {bytes(self._body[:300])!r}"))

    def close(self) -> None:
        self._transport.close()


class Client:
    """A connection with its handshake done and its next request ready as bytes."""

    def __init__(self, load: Load, number: int) -> None:
        self._load: Final = load
        self._number: Final = number
        self._url: Final = urlsplit(load.url)
        self._count = 0
        self.is_cold: Final = load.cold

    async def connect(self) -> None:
        """Open the connection and, in the handshake era, initialize."""
        await self._open()
        await self._greet()
        token = self._token(0)
        if self._load.list_size:
            whole = self._request("tools/list", {"id": 1, "params": {}})
        else:
            call = {"name": self._load.tool, "arguments": {"text": token}}
            whole = self._request("tools/call", {"id": 1, "params": call}, self._load.tool)
        self._before, self._token_there, self._after = whole.partition(token.encode())

    async def _greet(self) -> None:
        if self._load.era == "handshake":
            client = {
                "protocolVersion": HANDSHAKE,
                "capabilities": {},
                "clientInfo": {"name": "bench", "version": "1"},
            }
            await self.connection.post(self._request("initialize", {"params": client, "id": 0}))
            ready = self._request("notifications/initialized", {})
            await self.connection.post(ready, (200, 202))

    async def cold(self) -> None:
        """Connect, ask for the list, call once, leave. Raises `WrongAnswer`."""
        await self.connect()
        answer = _event_data(await self.connection.post(self._request("tools/list", {"id": 1, "params": {}})))
        if not any(tool["name"] == self._load.tool for tool in _decode(answer).result.tools):
            raise WrongAnswer(f"{self._load.tool} is not in the list: {answer[:300]!r}")
        await self.ask()
        self.connection.close()

    async def listen(self) -> None:
        """Open the session's stream; its answer has no end."""
        lines = self._headers(HANDSHAKE) | {"Accept": "text/event-stream"}
        self.connection.send_only(f"GET {self._url.path} HTTP/1.1\r\n{_lines(lines)}\r\n".encode())
        await self.connection.headed()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.connection = await loop.create_connection(Connection, self._url.hostname, self._url.port)

    def _token(self, count: int) -> str:
        return f"{self._load.words}-{self._number:06}-{count:012}"

    def _request(self, method: str, message: dict[str, Any], name: str = "") -> bytes:
        modern = self._load.era == "modern"
        if modern and "params" in message:
            message = {**message, "params": {**message["params"], "_meta": META}}
        body = msgspec.json.encode({"jsonrpc": "2.0", "method": method, **message})
        headers = self._headers(MODERN if modern else "" if method == "initialize" else HANDSHAKE)
        headers |= {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Content-Length": str(len(body)),
        }
        if modern:
            headers |= {"Mcp-Method": method} | ({"Mcp-Name": name} if name else {})
        return f"POST {self._url.path} HTTP/1.1\r\n{_lines(headers)}\r\n".encode() + body

    def _headers(self, revision: str) -> dict[str, str]:
        headers = {"Host": self._url.netloc}
        if self._load.key_header:
            headers[self._load.key_header] = self._load.key
        elif self._load.key:
            headers["Authorization"] = f"Bearer {self._load.key}"
        if revision:
            headers["MCP-Protocol-Version"] = revision
        if revision == HANDSHAKE and self.connection.session:
            headers["Mcp-Session-Id"] = self.connection.session.decode()
        return headers

    async def ask(self) -> None:
        """One request and its answer, checked. Raises `WrongAnswer`."""
        self._count += 1
        token = self._token(self._count)
        request = self._before + token.encode() + self._after if self._token_there else self._before
        if self.connection.closed:  # by a server that had to wait for the other clients' handshakes
            await self._open()
        check = _check_list if self._load.list_size else _check_call
        check(_event_data(await self.connection.post(request)), self._load.list_size or token)


def _lines(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


class _Content(msgspec.Struct, frozen=True):
    text: str = ""


class _Result(msgspec.Struct, frozen=True, rename="camel"):
    content: list[_Content] = []
    tools: list[dict[str, Any]] = []
    is_error: bool = False


class _Answer(msgspec.Struct, frozen=True):
    result: _Result = _Result()
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Answer).decode


def _event_data(body: bytes) -> bytes:
    """The JSON of an answer: the body itself, or the data of the last event when it is a stream."""
    if not body.startswith((b"event:", b"data:", b"id:", b":")):
        return body
    return body.replace(b"\r\n", b"\n").rpartition(b"\ndata:")[2].partition(b"\n")[0] or body.partition(b"data:")[2]


def _check_call(body: bytes, token: Any) -> None:
    answer = _decode(body)
    if answer.error is not None or answer.result.is_error or [part.text for part in answer.result.content] != [token]:
        raise WrongAnswer(f"{token} was answered with {body[:300]!r}")


def _check_list(body: bytes, size: Any) -> None:
    if (found := len(_decode(body).result.tools)) != size:
        raise WrongAnswer(f"a list of {size} tools has {found}: {body[:300]!r}")


async def run(load: Load) -> Measured:
    """Carry out the load. Raises `WrongAnswer`."""
    if load.idle_sessions:
        return await _open_sessions(load)
    clients = [Client(load, number) for number in range(load.clients)]
    if not load.cold:
        await asyncio.gather(*(client.connect() for client in clients))
    await _loop_all(clients, load.warm_s, lambda taken: None)
    warm = sum(client._count for client in clients)
    taken: list[int] = []
    cpu, start = _cpu(), time.perf_counter()
    await _loop_all(clients, load.seconds, taken.append)
    seconds, cpu = time.perf_counter() - start, _cpu() - cpu
    for client in clients:
        client.connection.close()
    return _measured(taken, warm + len(taken), seconds, cpu)


async def _loop_all(clients: list[Client], seconds: float, note: Callable[[int], None]) -> None:
    end = time.perf_counter() + seconds
    await asyncio.gather(*(_loop(client, end, note) for client in clients))


async def _loop(client: Client, end: float, note: Callable[[int], None]) -> None:
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        await (client.cold() if client.is_cold else client.ask())
        note(time.perf_counter_ns() - start)


async def _open_sessions(load: Load) -> Measured:
    """Make handshake sessions, eight at a time, and leave them: sockets closed or streaming, sessions not ended."""
    start, cpu = time.perf_counter(), _cpu()
    taken: list[int] = []
    streaming: list[Client] = []

    async def some(numbers: range) -> None:
        for number in numbers:
            began = time.perf_counter_ns()
            client = Client(load, number)
            await client.connect()
            if load.streams:
                await client.listen()
                streaming.append(client)
            else:
                client.connection.close()
            taken.append(time.perf_counter_ns() - began)

    await asyncio.gather(*(some(range(lane, load.idle_sessions, 8)) for lane in range(8)))
    if streaming:
        print("streaming", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    return _measured(taken, len(taken), time.perf_counter() - start, _cpu() - cpu)


def _measured(taken: list[int], all_calls: int, seconds: float, cpu: float) -> Measured:
    taken.sort()

    def percentile(share: float) -> float:
        return taken[min(len(taken) - 1, int(len(taken) * share))] / 1e6

    own = cpu / len(taken) * 1e6
    return Measured(len(taken), all_calls, seconds, percentile(0.5), percentile(0.95), percentile(0.99), own)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    uvloop.install()
    print(msgspec.json.encode(asyncio.run(run(msgspec.json.decode(sys.argv[1].encode(), type=Load)))).decode())
