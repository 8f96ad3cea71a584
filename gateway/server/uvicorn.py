"""`serve`: uvicorn on uvloop and httptools, with the limits that it lacks and a drain without losses."""

import asyncio
from functools import lru_cache
from types import FrameType
from typing import Any, Final, Literal
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.server.cycle import Cycle
from gateway.server.deadline import Deadline
from gateway.server.doors import Doors
from gateway.server.drain import App, Drain
from gateway.server.refusals import LINGER_BYTES, LINGER_S, refusal, target_path
from gateway.server.uvicorn_socket import LimitedSocket
from mcphub.core.limits import Limits

KEEP_ALIVE_S: Final = 75
FLUSH_S: Final = 3
USUAL_URL: Final = 256
VERSIONS: Final = frozenset({"1.0", "1.1"})
SLASH, HASH, UNDERSCORE = b"/#_"
"""As numbers: to look for bytes in bytes, Python first makes an error of their not being one."""

WHITESPACE: Final = b" \t"
"""Not part of a value (RFC 9110 §5.5); the parser takes it away before the value only."""


@lru_cache(maxsize=256)
def split_url(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, raw path and query of a request's target. Raises `HttpParserInvalidURLError`."""
    parts = httptools.parse_url(url)
    path = parts.path.decode("ascii")
    return unquote(path) if "%" in path else path, parts.path, parts.query or b""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. Header, body and write deadlines; 413 and 431 before more is read; what two readers could
    understand differently is refused.

    A request that arrives in one piece costs no timer.
    """

    limits: Limits
    cycle: Cycle
    doors: Doors

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.said: Final = asyncio.Event()
        self._stage: Literal["idle", "head", "body"] = "idle"
        self._handed_on = False
        self._source = ""
        self._head_bytes = 0
        self._is_known_small = True
        self._trailer_bytes = 0
        self._body_bytes = 0
        self._refused = False
        self._dropped = 0
        self._idle_since = 0.0
        self._reading: Final = Deadline(self.loop)
        self._writing: Final = Deadline(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base does
        super().connection_made(transport)
        self._source = self.client[0] if self.client else ""
        if status := self.doors.enter(self._source):
            self._refuse(status)
        else:
            self._arm_read("head", self.limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.doors.leave(self._source)
        self._reading.clear()
        self._writing.clear()
        self._forget_idleness()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._drop(data)
            return
        was = self._stage
        self._is_known_small = was != "head" and len(data) <= self.limits.header_bytes
        self._feed(data)
        if self._refused or self.transport.is_closing():
            return
        if self._stage == "body":
            self._arm_read("body", self.limits.body_s)
        elif self._stage == "head":
            self._head_bytes = self._head_bytes + len(data) if was == "head" else 0
            if self._head_bytes > self.limits.header_bytes:
                self._refuse(431)
            else:
                self._arm_read("head", self.limits.header_s)
        elif self.cycle is not None:  # before the first request an empty line is part of a slow header
            self._reading.clear()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._refused:
                return
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(400)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the request once more as if it had not asked for another protocol (RFC 9110 section 7.8).

        The parser takes such a request to have no body, and what was its body for the next request.
        """
        head = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"".join((head, *kept, b"\r\n", rest)))

    def on_message_begin(self) -> None:
        if not self._refused:
            self._stage = "head"
            self._handed_on = False
            self._trailer_bytes = 0
            if len(self.pipeline) >= self.limits.connection_requests:
                self._refuse(429)
            super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called eight times for each request: what single headers mean is looked at when all are there."""
        if self._stage == "body":
            self._trailer(name, value)
        else:
            self.headers.append((name.lower(), value.rstrip(WHITESPACE)))

    def _trailer(self, name: bytes, value: bytes) -> None:
        """Nothing here reads trailers, and no header may come after the body (RFC 9110 section 6.5.1)."""
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > self.limits.header_bytes and not self._refused:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._stage = "body"
        self._body_bytes = 0
        if status := self._fault():
            self._refuse(status)
            return
        if self.parser.should_upgrade() and not self._should_upgrade():
            return
        self.scope["method"] = self.parser.get_method().decode("ascii")
        if not self.parser.should_upgrade():
            self._hand_on()

    def _hand_on(self) -> None:
        """As the base does, with a leaner cycle and without its limit of concurrency, which nobody sets."""
        version = self.parser.get_http_version()
        path, raw_path, query = split_url(self.url) if len(self.url) <= USUAL_URL else split_url.__wrapped__(self.url)
        scope: Any = self.scope
        scope["http_version"] = version
        scope["path"], scope["raw_path"], scope["query_string"] = path, raw_path, query
        before = self.cycle
        self.cycle = Cycle(self, version != "1.0" and self.parser.should_keep_alive())
        self._handed_on = True
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _fault(self) -> int:
        """The status with which to refuse a request for its head; 0 when there is nothing against it."""
        if len(self.headers) > self.limits.headers or self._is_head_too_large():
            return 431
        headers = dict(self.headers)
        if int(headers.get(b"content-length", 0)) > self.limits.body_bytes:
            return 413
        if b"transfer-encoding" in headers and not self._is_only_chunked():
            return 501
        if UNDERSCORE in b"".join(headers):
            self._drop_ambiguous()
        self.expect_100_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            return 505
        if version == "1.0" and b"transfer-encoding" in headers:
            return 400
        if self.parser.should_upgrade() and self._should_upgrade() and self.parser.get_method() != b"GET":
            return 400
        return 0 if self.url[0] == SLASH and HASH not in self.url else self._absolute()

    def _is_only_chunked(self) -> bool:
        return all(value.lower() == b"chunked" for name, value in self.headers if name == b"transfer-encoding")

    def _drop_ambiguous(self) -> None:
        """An application may take a name with "_" for the one with "-", which a proxy in front would have seen."""
        self.headers[:] = [header for header in self.headers if b"_" not in header[0]]

    def _is_head_too_large(self) -> bool:
        if self._is_known_small:
            return False
        exact = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        return exact > self.limits.header_bytes

    def _absolute(self) -> int:
        path = target_path(self.url, dict(self.headers).get(b"host", b""))
        if path is None:
            return 400
        self.url = path
        return 0

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self.limits.body_bytes:
            self._refuse(413)
        elif self._handed_on and not self.cycle.response_complete:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            self._stage = "idle"
            if self._handed_on and not self.cycle.response_complete:
                self.cycle.end()

    def on_response_complete(self) -> None:
        """As the base does, but for the timer of an idle connection: one that looks again, not one a request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._look_for_idleness(self.timeout_keep_alive)
        if self.transport.get_write_buffer_size():
            self._arm_write()

    def _unset_keepalive_if_required(self) -> None:
        """The timer finds out by itself that the connection is used."""

    def _look_for_idleness(self, in_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(in_s, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        used = self._stage != "idle" or self._is_answering()
        left = self.timeout_keep_alive - (0 if used else self.loop.time() - self._idle_since)
        if left > 0:
            self._look_for_idleness(left)
        else:
            super().timeout_keep_alive_handler()

    def _forget_idleness(self) -> None:
        super()._unset_keepalive_if_required()

    def handle_websocket_upgrade(self) -> None:
        self._forget_idleness()
        self._reading.clear()
        self._writing.clear()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm_write()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._writing.clear()

    def _refuse(self, status: int) -> None:
        """Answer by ourselves and end the connection; an application that already reads sees a disconnect."""
        self._refused = True
        self._reading.clear()
        answer = self._may_answer()
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not answer:
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write(refusal(status))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._reading.set("linger", LINGER_S, self.transport.abort)

    def _may_answer(self) -> bool:
        """Whether nothing has been said yet to the request that is being received, nor is owed before it."""
        if self._handed_on:
            return not self.cycle.response_started and not self.pipeline
        return not self._is_answering()

    def _is_answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _arm_read(self, stage: str, seconds: float) -> None:
        if self._reading.about != stage:
            self._reading.set(stage, seconds, self._read_too_slow)

    def _drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self.transport.abort()

    def _read_too_slow(self) -> None:
        if self._stage == "idle":
            self.transport.close()
        else:
            self._refuse(408)

    def _arm_write(self) -> None:
        if not self._writing.about:
            self._writing.set("write", self.limits.write_s, self._write_too_slow)

    def _write_too_slow(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()


class DrainingServer(uvicorn.Server):
    """Goes on serving while it drains; ends with exit code 0 after a signal, at once after a second one."""

    def __init__(self, config: Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain: Final = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self._drain.hurry()
        self.should_exit = True

    async def shutdown(self, sockets: Any = None) -> None:
        await self._drain.complete()
        await super().shutdown(sockets)


def make_server(
    app: App, drain: Drain, limits: Limits, doors: Doors, *, certfile: str | None = None, keyfile: str | None = None
) -> DrainingServer:
    """A server for `app`, not yet running; `run(sockets=[…])` makes it accept on sockets that are open already."""
    config = Config(
        drain.guard(app),
        loop="uvloop",
        http=type("Protocol", (LimitedProtocol,), {"limits": limits, "doors": doors}),
        ws=type("Socket", (LimitedSocket,), {"limits": limits, "doors": doors}),
        ws_max_size=limits.body_bytes,
        ws_per_message_deflate=False,
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FLUSH_S,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    return DrainingServer(config, drain)
