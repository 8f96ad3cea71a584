"""Both servers as real processes: what slow, greedy and leaving clients meet, and how the hub goes down."""

import json
import re
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness.processes import Process
from tests.harness.waiting import until
from tests.ops.tls import self_signed

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "Probe"]


class Probe(Process):
    """The probe application behind one of the servers."""

    def __init__(self, server: str, log: Path, *arguments: str) -> None:
        super().__init__([sys.executable, "-m", "tests.ops.probe_app", server, *arguments], log, cwd=ROOT)
        self.port = int(until("the server's start", self._listening)[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def _listening(self) -> re.Match[str] | None:
        self.expect_running()
        return re.search(r"^listening (\d+)$", self.output, re.MULTILINE)

    def connect(self, window: int | None = None) -> socket.socket:
        sock = socket.socket()
        if window is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        sock.settimeout(15)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def said(self, words: str) -> None:
        until(words, lambda: words in self.output)

    def memory_mb(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096 / 1e6


SERVERS = ("daphne", "uvicorn")


@pytest.fixture(params=SERVERS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    running: list[Probe] = []

    def begin(*arguments: str) -> Probe:
        running.append(Probe(request.param, tmp_path / f"{len(running)}.log", *arguments))
        return running[-1]

    yield begin
    for probe in running:
        if probe.exit_code is None:
            probe.stop(signal.SIGKILL)


@pytest.fixture(scope="module", params=SERVERS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    """A server with short limits that all tests share which leave it running."""
    running = Probe(request.param, tmp_path_factory.mktemp("probe") / "log", "header_s=0.7,body_s=1.5,write_s=1")
    yield running
    assert running.stop() == 0


def everything(sock: socket.socket) -> bytes:
    received = b""
    while chunk := _some(sock):
        received += chunk
    return received


def _some(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b""


class InBackground(threading.Thread):
    """One request made by a thread of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.response: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        try:
            self.response = httpx.get(self.url, timeout=30)
        except httpx.HTTPError:
            return

    def answer(self) -> httpx.Response | None:
        self.join(30)
        return self.response


@pytest.mark.requirement("X5")
def test_term_lets_the_call_in_flight_answer_and_exits_with_0(start: Start) -> None:
    probe = start()
    call = InBackground(f"{probe.url}/sleep?1.5")
    probe.said("sleeping")
    probe.send(signal.SIGTERM)
    until("draining", lambda: httpx.get(f"{probe.url}/healthz").status_code == 503)
    refused = httpx.get(f"{probe.url}/length")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == -31020
    assert (answer := call.answer())
    assert answer.text == "slept"
    assert probe.wait() == 0
    assert "stopped" in probe.output


@pytest.mark.requirement("X5")
def test_during_the_notice_new_requests_are_still_served(start: Start) -> None:
    probe = start("drain_notice_s=1.5")
    probe.send(signal.SIGTERM)
    until("draining", lambda: httpx.get(f"{probe.url}/healthz").status_code == 503)
    assert httpx.get(f"{probe.url}/length").status_code == 200
    assert probe.wait() == 0


def test_big_answer_in_flight_survives_term(start: Start) -> None:
    probe = start()
    with probe.connect(window=4096) as sock:
        sock.sendall(b"GET /big?8000000 HTTP/1.1\r\nhost: x\r\n\r\n")
        received = sock.recv(1000)
        probe.send(signal.SIGTERM)
        until("draining", lambda: httpx.get(f"{probe.url}/healthz").status_code == 503)
        received += everything(sock)
    assert len(received.partition(b"\r\n\r\n")[2]) == 8_000_000
    assert probe.wait() == 0


def test_stream_of_news_ends_with_the_drain_and_holds_it_up_not(start: Start) -> None:
    probe = start("drain_s=600")
    with httpx.stream("GET", f"{probe.url}/news", headers={"accept": "text/event-stream"}, timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": hello"
        probe.send(signal.SIGTERM)
        assert list(lines)[-1:] in ([], [""])
    assert probe.wait() == 0


def test_drain_has_a_limit(start: Start) -> None:
    probe = start("drain_s=0.5")
    call = InBackground(f"{probe.url}/sleep?600")
    probe.said("sleeping")
    probe.send(signal.SIGTERM)
    assert probe.wait() == 0
    assert (answer := call.answer()) is None or answer.is_server_error


def test_second_signal_ends_the_waiting(start: Start) -> None:
    probe = start("drain_notice_s=600")
    probe.send(signal.SIGTERM)
    until("draining", lambda: httpx.get(f"{probe.url}/healthz").status_code == 503)
    probe.send(signal.SIGINT)
    assert probe.wait() == 0


def test_idle_connections_hold_up_nothing(start: Start) -> None:
    probe = start("drain_s=600")
    with httpx.Client() as client:
        assert client.get(f"{probe.url}/length").text == "0"
        probe.send(signal.SIGTERM)
        assert probe.wait() == 0


def test_declared_length_over_the_limit_is_refused_before_the_body_is_read(probe: Probe) -> None:
    with probe.connect() as sock:
        sock.sendall(b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 200000000\r\n\r\n")
        answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == -32600


def test_chunked_body_over_the_limit_is_refused_early_and_costs_no_memory(probe: Probe) -> None:
    before = probe.memory_mb()
    with probe.connect() as sock:
        sock.sendall(b"POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        sent = 0
        try:
            while sent < 200_000_000:
                sock.sendall(piece)
                sent += 65536
        except OSError:
            pass
        answer = _some(sock)
    assert answer.startswith(b"HTTP/1.1 413 ") or not answer
    assert sent < 190_000_000
    assert probe.memory_mb() - before < 32


def test_client_that_sends_first_and_reads_later_still_sees_413(probe: Probe) -> None:
    response = httpx.post(f"{probe.url}/length", content=b"x" * 6_000_000)
    assert response.status_code == 413


def test_body_of_the_limit_passes(probe: Probe) -> None:
    assert httpx.post(f"{probe.url}/length", content=b"x" * 4 * 1024 * 1024).text == str(4 * 1024 * 1024)


@pytest.mark.parametrize("first", [b"", b"GET /length HTT", b"GET /length HTTP/1.1\r\nhost: x\r\n"])
def test_half_a_header_is_cut(probe: Probe, first: bytes) -> None:
    with probe.connect() as sock:
        sock.sendall(first)
        assert not (answer := everything(sock)) or answer.startswith(b"HTTP/1.1 408 ")


def test_dripped_header_is_cut(probe: Probe) -> None:
    with probe.connect() as sock:
        sock.sendall(b"GET /length HTTP/1.1\r\n")
        began = time.monotonic()
        sock.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() - began < 60:
            sock.sendall(b"x-drip: 1\r\n")
            try:
                answer = sock.recv(1000)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_dripped_body_is_cut(probe: Probe) -> None:
    with probe.connect() as sock:
        sock.sendall(b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nx")
        assert everything(sock).startswith(b"HTTP/1.1 408 ")


def test_slow_call_is_no_slow_client(probe: Probe) -> None:
    assert httpx.get(f"{probe.url}/sleep?1.2").text == "slept"


def test_endless_header_is_refused(probe: Probe) -> None:
    with probe.connect() as sock:
        sock.sendall(b"GET /length HTTP/1.1\r\nhost: x\r\n")
        try:
            for _ in range(1000):
                sock.sendall(b"x-long: " + b"y" * 8000 + b"\r\n")
        except OSError:
            pass
        answer = _some(sock)
    assert not answer or answer.split()[1] in (b"400", b"431")


@pytest.mark.requirement("X5")
def test_reader_that_stalls_holds_the_application_back_and_is_cut(probe: Probe) -> None:
    with probe.connect(window=4096) as sock:
        sock.sendall(b"GET /flood?200000000 HTTP/1.1\r\nhost: x\r\n\r\n")
        until("the cut", lambda: _is_reset(sock), within=30)
    facts = httpx.get(f"{probe.url}/facts").json()
    assert facts["flooded"] < 20_000_000 or probe.memory_mb() < 150


def _is_reset(sock: socket.socket) -> bool:
    try:
        sock.send(b"\r\n")
    except OSError:
        return True
    return False


def test_slow_reader_that_makes_progress_gets_everything(probe: Probe) -> None:
    with probe.connect(window=32768) as sock:
        sock.sendall(b"GET /big?3000000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received, paused = b"", 0.0
        while chunk := sock.recv(65536):
            received += chunk
            if paused < 2.5:
                time.sleep(0.05)
                paused += 0.05
    assert len(received.partition(b"\r\n\r\n")[2]) == 3_000_000


def test_pipelined_requests_are_answered_in_order(probe: Probe) -> None:
    with probe.connect() as sock:
        one = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n"
        sock.sendall(one % 3 + b"\r\nabc" + one % 5 + b"connection: close\r\n\r\nabcde")
        answer = everything(sock)
    assert [part[-1:] for part in answer.split(b"HTTP/1.1 200")][1:] == [b"3", b"5"]


def test_application_sees_a_client_leave(probe: Probe) -> None:
    with httpx.stream("GET", f"{probe.url}/news") as stream:
        assert next(stream.iter_lines()) == ": hello"
    probe.said("left")


def test_tls(start: Start, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    probe = start(str(cert), str(key))
    context = ssl.create_default_context(cafile=str(cert))
    with httpx.Client(verify=context) as client:
        url = f"https://127.0.0.1:{probe.port}"
        assert client.get(f"{url}/big?1000000").content == b"x" * 1_000_000
        assert client.post(f"{url}/length", content=b"x" * 5_000_000).status_code == 413
        probe.send(signal.SIGTERM)
    assert probe.wait() == 0
