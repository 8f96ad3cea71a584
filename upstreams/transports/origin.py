"""The way to one HTTP origin: its name is resolved and checked, and connections go to the checked addresses.

No redirects are followed, no proxy is used, nothing is decompressed. The name is resolved again every
`resolve_s`, so that a rebound name is judged before anything is sent to it. Idle connections are closed after
`upstream_idle_s`, which is less than the 5 s after which Node and uvicorn close them: a request that met such a close
on its way would have to be reported as "may have run".
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from mcphub.core import aio, clock, netguard
from mcphub.core.limits import Limits
from upstreams.errors import EgressRefused, TlsFault, TooLarge, Unreachable, UpstreamError
from upstreams.transports.http1 import Wire
from upstreams.transports.pieces import Pieces

PORTS: Final = {"http": 80, "https": 443}
TOKEN: Final = re.compile(r"\A[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
VALUE: Final = re.compile(r"\A[\t\x20-\x7e\x80-\xff]*\Z")

Headers = Iterable[tuple[str, str]]

_trust: ssl.SSLContext | None = None


def header_lines(headers: Headers) -> bytes:
    """Headers as they go over the wire. Raises `Unreachable` for one that would break the request."""
    lines = []
    for name, value in headers:
        if not TOKEN.match(name) or not VALUE.match(value):
            raise Unreachable(f"The header {name!r} has a name or value that HTTP does not allow.")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


class Origin:
    """Connections to the scheme, host and port of `url`; each exchange names its own path there."""

    def __init__(self, url: str, allow: Sequence[str], connect_s: float, limits: Limits) -> None:
        parts = _split(url)
        self.secure = parts.scheme == "https"
        self.host = _ascii(parts.hostname or "")
        self.port = parts.port or PORTS[parts.scheme]
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        shown = bracketed if parts.port in (None, PORTS[parts.scheme]) else f"{bracketed}:{self.port}"
        self._base = f"{parts.scheme}://{shown}"
        self._host_line = f"host: {shown}\r\n".encode()
        self._allow = allow
        self._connect_s = connect_s
        self._limits = limits
        self._addresses: list[str] = []
        self._fresh_until = 0.0
        self._idle: deque[Wire] = deque()
        self._pruning: asyncio.TimerHandle | None = None
        self._looking = asyncio.Lock()

    def target(self, location: str, base: str = "/") -> str | None:
        """Path and query of `location` (seen from path `base`) when it is on this origin; else None."""
        try:
            parts = _split(urljoin(self._base + base, location.strip()))
            same = (_ascii(parts.hostname or ""), parts.port or PORTS[parts.scheme]) == (self.host, self.port)
        except (ValueError, UpstreamError):
            return None
        if not same or (parts.scheme == "https") != self.secure:
            return None
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        return quote(target, safe="/%:=&?~+!$,;'@()*[]")

    def send(self, verb: str, target: str, head: bytes, body: bytes | None = None) -> "Sending":
        """An exchange, as a context manager that gives its `Wire` after the headers of the answer."""
        length = b"" if body is None else b"content-length: %d\r\n" % len(body)
        start = f"{verb} {target} HTTP/1.1\r\n".encode()
        return Sending(self, b"".join((start, self._host_line, head, length, b"\r\n", body or b"")))

    def take(self) -> Wire | None:
        """An idle connection to an address that is still fresh."""
        now = clock.monotonic()
        while self._idle and now < self._fresh_until:
            wire = self._idle.pop()
            if wire.open and now - wire.free_since < self._limits.upstream_idle_s:
                return wire
            wire.abort()
        return None

    def give(self, wire: Wire) -> None:
        """Take back a connection after its exchange."""
        if wire.release():
            self._idle.append(wire)
            if len(self._idle) > self._limits.upstream_idle:
                self._idle.popleft().abort()
            if self._pruning is None:
                self._prune_later()

    def _prune_later(self) -> None:
        self._pruning = asyncio.get_running_loop().call_later(self._limits.upstream_idle_s, self._prune)

    def _prune(self) -> None:
        """Close what was idle for too long; one timer for all connections."""
        self._pruning = None
        too_old = clock.monotonic() - self._limits.upstream_idle_s
        while self._idle and self._idle[0].free_since <= too_old:
            self._idle.popleft().abort()
        if self._idle:
            self._prune_later()

    async def obtain(self) -> Wire:
        """A connection, idle or new, after looking the name up if it is time. Raises `UpstreamError`."""
        async with self._looking:
            if clock.monotonic() >= self._fresh_until:
                await self._look_up()
        return self.take() or await self._connect()

    async def _connect(self) -> Wire:
        """A new connection to the first checked address that takes one."""
        fault: UpstreamError = Unreachable("The upstream cannot be reached.")
        for address in self._addresses:
            try:
                async with asyncio.timeout(self._connect_s):
                    return await self._open(address)
            except ssl.SSLCertVerificationError as error:
                fault = TlsFault(f"The upstream's certificate cannot be trusted: {error.verify_message}.")
            except (ssl.SSLError, ConnectionResetError) as error:
                fault = TlsFault("No secure connection to the upstream could be made.") if self.secure else fault
                fault.__cause__ = error
            except OSError as error:
                fault.__cause__ = error
        self._fresh_until = 0.0
        raise fault

    def close(self) -> None:
        """Close the idle connections; those in use close themselves."""
        if self._pruning is not None:
            self._pruning.cancel()
            self._pruning = None
        while self._idle:
            self._idle.pop().abort()

    async def _look_up(self) -> None:
        try:
            async with asyncio.timeout(self._connect_s):
                addresses = await netguard.resolve(self.host, self.port, self._allow)
        except netguard.EgressBlocked as error:
            self.close()
            refusal = EgressRefused("The upstream is at an address that the hub may not connect to.")
            refusal.add_note(f"{error}. Allow {error.host}:{error.port} to connect to it.")
            raise refusal from error
        except (OSError, UnicodeError) as error:
            raise Unreachable("The upstream's host name cannot be found.") from error
        if set(addresses) != set(self._addresses):
            self.close()
        self._addresses = addresses
        self._fresh_until = clock.monotonic() + self._limits.resolve_s

    def _new_wire(self) -> Wire:
        return Wire(self._limits.upstream_header_bytes)

    async def _open(self, address: str) -> Wire:
        context = await _trusted() if self.secure else None
        _, wire = await asyncio.get_running_loop().create_connection(
            self._new_wire, address, self.port, ssl=context, server_hostname=self.host if self.secure else None
        )
        return wire


class Sending:
    """One request on its way. Leaving the block before the answer is complete closes the connection."""

    __slots__ = ("_origin", "_request", "_wire", "sent")

    def __init__(self, origin: Origin, request: bytes) -> None:
        self.sent = False
        self._origin = origin
        self._request = request
        self._wire: Wire | None = None

    async def __aenter__(self) -> Wire:
        wire = self._wire = self._origin.take() or await self._origin.obtain()
        try:
            self.sent = True
            wire.send(self._request)
            await wire.head()
            if wire.status == 200 and wire.headers.get(b"content-encoding", b"identity") != b"identity":
                raise TooLarge("The upstream compressed its answer, so that its size cannot be bounded.")
        except BaseException:
            wire.abort()
            raise
        return wire

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wire is not None:
            self._origin.give(self._wire)


async def whole(wire: Wire, limit: int, alive: Callable[[], None]) -> bytes:
    """The rest of the body, with a sign of life for each piece.

    Raises `TooLarge` over `limit` bytes, before reading them if the length is told.
    """
    length = wire.headers.get(b"content-length", b"0")
    if len(length) > 15 or int(length) > limit:
        raise TooLarge("The upstream's answer is over the size limit.")
    body = await wire.read()
    if wire.complete and len(body) <= limit:
        return body
    parts = Pieces()
    parts.add(body)
    while piece := await wire.read():
        alive()
        parts.add(piece)
        if parts.size > limit:
            parts.clear()
            raise TooLarge("The upstream's answer is over the size limit.")
    return parts.take()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or parts.port == 0:
            raise ValueError(url)
    except ValueError:
        raise Unreachable("The configured URL is not an http or https URL.") from None
    return parts


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii").lower() if not host.isascii() else host.lower()
    except UnicodeError:
        raise Unreachable("The configured URL has an impossible host name.") from None


async def _trusted() -> ssl.SSLContext:
    """The machine's trust store, read once and in a thread, for it takes 20 ms."""
    global _trust
    if _trust is None:
        context = await aio.in_thread(ssl.create_default_context)
        context.set_alpn_protocols(["http/1.1"])
        _trust = context
    return _trust
