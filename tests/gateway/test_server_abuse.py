"""Requests that two readers could understand differently, and clients that pile things up, under both servers."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Edge, call, modern_headers, post, serve, text_of
from tests.harness.processes import Process
from tests.harness.waiting import until
from tests.harness.wire import Heard, dial, listen, request, say

OK = call("whoami")
BODY = json.dumps(OK).encode()
HEADERS = {**modern_headers(OK), "content-type": "application/json"}
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
TE = "Transfer-Encoding: chunked\r\n"


def ask(extra: str = "", body: bytes = BODY, line: str = "POST /mcp HTTP/1.1", host: str = "localhost") -> bytes:
    """The usual call with something more in its head, and no length but what `extra` says."""
    return request(line, body, HEADERS, host=host, extra=extra, length=False)


def sized(extra: str = "", **changes: Any) -> bytes:
    return ask(f"Content-Length: {len(BODY)}\r\n{extra}", **changes)


REFUSED: dict[str, tuple[bytes, set[int]]] = {
    "length and chunks": (ask(f"Content-Length: {len(BODY)}\r\n{TE}", CHUNKED), {400}),
    "chunks and length": (ask(f"{TE}Content-Length: 4\r\n", CHUNKED), {400}),
    "two equal lengths": (ask(f"Content-Length: {len(BODY)}\r\n" * 2), {400}),
    "two lengths": (sized(f"Content-Length: {len(BODY) + len(HIDDEN)}\r\n") + HIDDEN, {400}),
    "list of lengths": (ask(f"Content-Length: {len(BODY)}, {len(BODY)}\r\n"), {400}),
    "signed length": (ask(f"Content-Length: +{len(BODY)}\r\n"), {400}),
    "negative length": (ask("Content-Length: -1\r\n"), {400}),
    "hexadecimal length": (ask(f"Content-Length: {len(BODY):#x}\r\n"), {400}),
    "length with underscore": (ask("Content-Length: 1_0\r\n"), {400}),
    "no length in the length": (ask("Content-Length: \r\n"), {400}),
    "absurd length": (ask(f"Content-Length: {'9' * 400}\r\n"), {400, 413}),
    "length in other digits": (ask("Content-Length: \u00b2\r\n"), {400}),
    "unknown coding": (ask("Transfer-Encoding: xchunked\r\n", CHUNKED), {501}),
    "identity coding": (ask("Transfer-Encoding: identity\r\n", HIDDEN), {501}),
    "coding before chunks": (ask("Transfer-Encoding: gzip, chunked\r\n", CHUNKED), {501}),
    "coding after chunks": (ask("Transfer-Encoding: chunked, identity\r\n", CHUNKED), {400, 501}),
    "chunks twice": (ask(TE + TE, CHUNKED), {400, 501}),
    "chunks and more": (ask(TE + "Transfer-Encoding: x\r\n", CHUNKED), {400, 501}),
    "chunks after a control character": (ask("Transfer-Encoding: \x0bchunked\r\n", CHUNKED), {400, 501}),
    "space before the colon": (ask("Transfer-Encoding : chunked\r\n", CHUNKED), {400}),
    "chunks in 1.0": (ask(TE, CHUNKED, line="POST /mcp HTTP/1.0"), {400}),
    "folded header": (sized("X-Folded: a\r\n b\r\n"), {400}),
    "fold after the request line": (b"POST /mcp HTTP/1.1\r\n X: y\r\nHost: localhost\r\n\r\n", {400}),
    "bare line feed in the head": (sized("X-A: b\nX-B: c\r\n"), {400}),
    "bare carriage return": (sized("X-A: b\rX-B: c\r\n"), {400}),
    "NUL in a value": (sized("X-A: b\0c\r\n"), {400}),
    "NUL in a name": (sized("X\0A: b\r\n"), {400}),
    "line without colon": (sized("garbage\r\n"), {400}),
    "header without name": (sized(": x\r\n"), {400}),
    "two hosts": (sized("Host: evil.example\r\n"), {400}),
    "no host": (sized(host=""), {421}),
    "absolute target elsewhere": (sized(line="POST http://evil.example/mcp HTTP/1.1"), {400}),
    "absolute target of another kind": (sized(line="POST ftp://localhost/mcp HTTP/1.1"), {400}),
    "absolute target with a person": (sized(line="POST http://localhost@evil.example/mcp HTTP/1.1"), {400}),
    "connect": (sized(line="CONNECT localhost:80 HTTP/1.1"), {400}),
    "target without slash": (sized(line="POST mcp HTTP/1.1"), {400}),
    "target with fragment": (sized(line="POST /admin#/mcp HTTP/1.1"), {400}),
    "raw bytes in the target": (sized(line="POST /\xe9/mcp HTTP/1.1"), {400}),
    "HTTP/2.0": (sized(line="POST /mcp HTTP/2.0"), {400, 505}),
    "HTTP/1.2": (sized(line="POST /mcp HTTP/1.2"), {400, 505}),
    "HTTP/0.9": (b"GET /mcp\r\n\r\n", {400, 505}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    "chunk of a negative size": (ask(TE, b"-1\r\nabc"), {400}),
    "chunk size with prefix": (ask(TE, b"0x" + CHUNKED), {400}),
    "chunk longer than it said": (ask(TE, CHUNKED.replace(b"}\r\n0", b"}XX\r\n0")), {400}),
    "a hundred and more headers": (sized("".join(f"X-{n}: 1\r\n" for n in range(101))), {431}),
    "a long header": (sized(f"X-Long: {'a' * 40_000}\r\n"), {431}),
    "a long target": (sized(line=f"POST /mcp?{'a' * 40_000} HTTP/1.1"), {431}),
    "endless trailers": (ask(TE, CHUNKED[:-2] + b"X-A: b\r\n" * 20_000 + b"\r\n"), {400, 431}),
    "WebSocket by POST": (
        sized(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
        ),
        {400, 405},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(edge: Edge, name: str) -> None:
    sent, statuses = REFUSED[name]
    heard = say(edge.port, sent)
    assert heard.status in statuses, heard
    assert b"Alice" not in heard.text
    assert len([line for line in heard.text.split(b"\r\n") if line.startswith(b"HTTP/1.")]) == 1


@pytest.mark.parametrize("name", ["bare line feeds", "chunks by line feeds", "not HTTP at all", "endless chunk"])
def test_what_is_not_understood_is_refused_or_given_up(edge: Edge, name: str) -> None:
    sent = {
        "bare line feeds": sized().replace(b"\r\n", b"\n"),
        "chunks by line feeds": ask(TE, CHUNKED.replace(b"\r\n", b"\n")),
        "not HTTP at all": b"\x16\x03\x01\x00\xc8" + b"\1" * 200,
        "endless chunk": ask(TE, b"FFFFFFFFFFFFFFFF0\r\nabc"),
    }[name]
    heard = say(edge.port, sent)
    assert heard.status in (400, 408, 413), heard
    assert heard.closed


ALIKE: dict[str, bytes] = {
    "plain": sized(),
    "spaces around the length": ask(f"Content-Length:  {len(BODY)} \r\n"),
    "chunked": ask(TE, CHUNKED),
    "chunked after a tab": ask("Transfer-Encoding:\tchunked\r\n", CHUNKED),
    "chunk extension": ask(TE, CHUNKED.replace(b"\r\n", b";a=b\r\n", 1)),
    "one byte a chunk": ask(TE, b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"),
    "absolute target": sized(line="POST http://localhost/mcp HTTP/1.1"),
    "HTTP/1.0": sized(line="POST /mcp HTTP/1.0"),
    "a protocol that is not spoken": sized(
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
    ),
    "underscore for dash": sized("Mcp_Name: other\r\nContent_Length: 4\r\nX_Api_Key: bob-key\r\n"),
    "expectation": sized("Expect: 100-continue\r\n"),
}


@pytest.mark.parametrize("name", ALIKE)
def test_odd_but_plain_requests_are_served(edge: Edge, name: str) -> None:
    heard = say(edge.port, ALIKE[name])
    assert b" 200 OK\r\n" in heard.text
    assert heard.text.count(b"Alice") == 1


@pytest.mark.parametrize("where", ["one piece", "two pieces"])
def test_the_body_of_a_request_for_an_upgrade_is_not_the_next_request(edge: Edge, where: str) -> None:
    """Nor is it lost: a client that offers HTTP/2 on a plain connection is answered in HTTP/1.1."""
    sent = sized("Connection: Upgrade\r\nUpgrade: h2c\r\n")
    head, body = sent.split(b"\r\n\r\n", 1)
    heard = say(edge.port, sent) if where == "one piece" else _in_turn(edge, head + b"\r\n\r\n", body)
    assert heard.statuses == [200]
    inner = sized()
    outer = ask(f"Content-Length: {len(inner)}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", inner)
    head, body = outer.split(b"\r\n\r\n", 1)
    heard = say(edge.port, outer) if where == "one piece" else _in_turn(edge, head + b"\r\n\r\n", body)
    assert heard.statuses == [400]
    assert b"Alice" not in heard.text


def _in_turn(edge: Edge, head: bytes, body: bytes) -> Heard:
    """The head, and the body once the server has certainly read the head."""
    with dial(edge.port) as link:
        link.sendall(head)
        assert say(edge.port, sized()).status == 200
        link.sendall(body)
        return Heard(*listen(link), 0)


def test_a_trailer_is_no_header(edge: Edge) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "authorization"}
    trailers = b"Authorization: Bearer alice-key\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    sent = request("POST /mcp HTTP/1.1", CHUNKED[:-2] + trailers, headers, extra=TE, length=False)
    assert say(edge.port, sent).status == 401
    allowed = ask(TE, CHUNKED[:-2] + b"Authorization: Bearer bob-key\r\n\r\n")
    assert b"Alice" in say(edge.port, allowed).text


def test_no_header_moves_the_application_to_another_root(edge: Edge) -> None:
    heard = say(edge.port, sized("Daphne-Root-Path: /elsewhere\r\n"))
    assert heard.status == 200


def test_f45_a_connection_that_only_says_empty_lines_is_a_slow_header(small_doors: Edge) -> None:
    with dial(small_doors.port) as link:
        for _ in range(20):
            link.sendall(b"\r\n")
        text, closed = listen(link)
    assert closed
    assert not text or Heard(text, closed, 0).status in (400, 408)


def test_requests_that_wait_on_one_connection_are_bounded(edge: Edge) -> None:
    """Either no more are read than may wait, or the connection ends; an honest client gets its answer."""
    slow = json.dumps(call("echo", {"pause": 1.5})).encode()
    before = memory_mb(edge.process)
    with dial(edge.port) as link:
        assert pushed(link, request("POST /mcp HTTP/1.1", slow, {**HEADERS, "mcp-name": "echo"}) * 500) < PUSHED
        assert say(edge.port, sized()).status == 200
        assert memory_mb(edge.process) - before < 16


PUSHED = 40_000_000


def pushed(link: socket.socket, again: bytes) -> int:
    """How many bytes the server takes before it stops reading or ends the connection, at most `PUSHED`."""
    link.settimeout(1)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < PUSHED:
            link.sendall(again)
            sent += len(again)
    return sent


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def small_doors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge that takes few connections, and waits for a header for a second."""
    before = os.environ.get("MCPHUB_LIMITS")
    os.environ["MCPHUB_LIMITS"] = "source_connections=8,connections=20,header_s=1,body_s=1,message_frames=50"
    try:
        yield from serve(request.param, tmp_path_factory.mktemp(request.param))
    finally:
        os.environ.pop("MCPHUB_LIMITS")
        if before is not None:
            os.environ["MCPHUB_LIMITS"] = before


def test_one_source_takes_so_many_connections_and_others_are_served(small_doors: Edge) -> None:
    port = small_doors.port
    links = [dial(port, source="127.0.0.2") for _ in range(9)]
    try:
        assert _refused(links[8]) == 429
        assert say(port, sized()).status == 200
        links += [dial(port, source=f"127.0.0.{4 + number % 3}") for number in range(12)]
        assert 503 in {_refused(link) for link in links[-3:]}
    finally:
        for link in links:
            link.close()
    until("an honest answer", lambda: say(port, sized()).status == 200)


def _refused(link: socket.socket) -> int:
    text, closed = listen(link)
    assert closed
    return Heard(text, closed, 0).status


def test_places_are_given_back_whatever_ended_the_connection(small_doors: Edge) -> None:
    port = small_doors.port
    key = base64.b64encode(b"0123456789abcdef").decode()
    upgrade = (
        f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    )
    endings = [
        sized(),
        sized(line="POST /mcp HTTP/2.0"),
        b"POST",
        ask(f"Content-Length: {len(BODY)}\r\n", BODY[:5]),
        request("GET /mcp HTTP/1.1", b"", HEADERS, extra=upgrade, length=False),
        request("GET /mcp HTTP/1.1", b"", {}, extra=upgrade, length=False),
    ]
    for sent in endings * 5:
        with dial(port) as link:
            link.sendall(sent)
            link.settimeout(0.05)
            listen(link)
    until("an honest answer", lambda: say(port, sized()).status == 200)


class Frames:
    """A WebSocket by hand, so that its frames can be what no library sends."""

    def __init__(self, edge: Edge, extra: str = "") -> None:
        self.link = dial(edge.port, window=4096)
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = (
            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        )
        self.link.sendall(request("GET /mcp HTTP/1.1", b"", HEADERS, extra=upgrade + extra, length=False))
        self.head = self.link.recv(4096)
        assert self.head.startswith(b"HTTP/1.1 101"), self.head

    @staticmethod
    def frame(opcode: int, payload: bytes, *, last: bool = True) -> bytes:
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
        return bytes([(0x80 if last else 0) | opcode]) + size + b"\0\0\0\0" + payload

    def code(self) -> int:
        """The code of the close frame that comes, 0 when the connection just ends."""
        text, closed = listen(self.link)
        found = text.rfind(b"\x88")
        assert closed or found >= 0, text
        return int(struct.unpack("!H", text[found + 2 : found + 4])[0]) if found >= 0 and text[found + 1] >= 2 else 0


def test_frames_are_never_compressed(edge: Edge) -> None:
    frames = Frames(edge, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert b"permessage-deflate" not in frames.head.lower()
    frames.link.sendall(bytes([0xC1]) + frames.frame(1, b"x")[1:])  # the bit that says "compressed"
    assert frames.code() in (0, 1002)


def test_a_message_has_a_bounded_number_of_frames(small_doors: Edge) -> None:
    frames = Frames(small_doors)
    frames.link.sendall(frames.frame(1, b"", last=False) + frames.frame(0, b"", last=False) * 200)
    assert frames.code() in (0, 1009)


def test_f45_a_message_that_never_ends_is_given_up(small_doors: Edge) -> None:
    frames = Frames(small_doors)
    frames.link.sendall(frames.frame(1, b"{", last=False))
    assert frames.code() in (0, 1008)


def test_pings_without_end_pile_nothing_up(edge: Edge) -> None:
    """The client floods with pings and reads no pong."""
    frames = Frames(edge)
    before = memory_mb(edge.process)
    pushed(frames.link, frames.frame(9, b"x" * 125) * 2_000)
    assert memory_mb(edge.process) - before < 16
    assert say(edge.port, sized()).status == 200
    frames.link.close()


def memory_mb(process: Process) -> float:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096 / 1e6


async def test_honest_calls_answer_meanwhile(edge: Edge, client: httpx.AsyncClient) -> None:
    links = [dial(edge.port) for _ in range(100)]
    for number, link in enumerate(links):
        link.sendall(sized()[: 40 + number])
    answers = await asyncio.gather(*(post(client, OK) for _ in range(20)))
    assert {text_of(answer) for answer in answers} == {"Alice"}
    for link in links:
        link.close()
