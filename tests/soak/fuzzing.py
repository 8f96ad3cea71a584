"""Fuzzing guided by coverage (Atheris) of what strangers write: `python -m tests.soak.fuzzing TARGET [FLAGS]`.

TARGET is a name in `TARGETS`; flags are libFuzzer's. A crash, a hang over 5 s or more than 512 MB ends the run with
an exit code. Atheris is in a dependency group of its own: `uv sync --group fuzz`.
"""

import asyncio
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.harness.hub import ROOT
from tests.soak.finding import Finding

FLAGS: Final = ("-timeout=5", "-rss_limit_mb=512", "-max_len=4096", "-print_final_stats=1", "-verbosity=0")
EVENT_BYTES, STREAM_BYTES = 512, 2_048
SEEDS: Final[dict[str, tuple[bytes, ...]]] = {
    "json": (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[1.5e3,null,true]}}}',
        b'{"a":"\\ud83d\\ude00","b":"\\\\","c":[[[{}]]],"d":-0}',
    ),
    "events": (b'\x05event: message\r\nid: 7\r\nretry: 10\r\ndata: {"a":1}\r\n\r\n: hm\n\ndata:x\rdata:y\r\r',),
    "http": (
        b"\x09HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"\x30HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nT: 1\r\n\r\n",
        b"\x10HTTP/1.1 103 Early\r\n\r\nHTTP/1.0 404 X\r\n\r\nbody to the end",
    ),
}


def is_installed() -> bool:
    """Whether Atheris is there."""
    return importlib.util.find_spec("atheris") is not None


async def fuzzed(folder: Path, target: str, seconds: int) -> Finding:
    """Fuzz one target for so long, from its seeds."""
    corpus = folder / target
    corpus.mkdir(parents=True)
    for number, seed in enumerate(SEEDS[target]):
        (corpus / str(number)).write_bytes(seed)
    flags = (*FLAGS, f"-max_total_time={seconds}", f"-artifact_prefix={folder}/")
    command = [sys.executable, "-m", "tests.soak.fuzzing", target, *flags, str(corpus)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode(errors="replace")
    units = re.search(r"number_of_executed_units:\s*(\d+)", said)
    peak = re.search(r"peak_rss_mb:\s*(\d+)", said)
    faults = () if process.returncode == 0 and units else (f"{target}: {said[-2000:]}",)
    return Finding(
        f"{seconds} s of Atheris on the {target} reader",
        f"{int(units[1]) if units else 0:,} inputs, {peak[1] if peak else '?'} MB at the peak",
        faults,
    )


def pieces(data: bytes) -> Iterator[bytes]:
    """The input cut into pieces as long as its first byte says."""
    if data:
        step, rest = data[0] or 1, data[1:]
        yield from (rest[at : at + step] for at in range(0, len(rest), step))


def read_json(data: bytes) -> None:
    """Whatever is taken is what the standard library would take, and can be written again."""
    from mcphub.core.strictjson import MAX_DEPTH, BadJson, loads

    try:
        value = loads(data)
    except BadJson:
        return
    assert json.loads(data) == value
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    assert _depth(value) <= MAX_DEPTH


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def read_events(data: bytes) -> None:
    """Events do not depend on where the stream was cut, and no more is kept than the limits say."""
    assert _events([data[1:]]) == _events(pieces(data))


def _events(stream: Any) -> list[Any]:
    from upstreams.errors import ProtocolFault, TooLarge
    from upstreams.transports.events import EventReader

    reader, found = EventReader(EVENT_BYTES, STREAM_BYTES), list[Any]()
    try:
        for piece in stream:
            found += reader.feed(piece)
    except (TooLarge, ProtocolFault):
        return []  # how much came before the fault depends on the pieces
    return [*found, reader.last_id]


class _Socket(asyncio.Transport):
    """The other end of a connection, as far as a reader looks at it."""

    closed = False

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def write(self, data: Any) -> None:
        """Goes nowhere."""

    def pause_reading(self) -> None:
        """Whoever feeds does not stop."""

    def resume_reading(self) -> None:
        """Nor begins."""


async def _read_http(data: bytes) -> None:
    from upstreams.errors import UpstreamError
    from upstreams.transports.http1 import Wire

    wire, link = Wire(header_bytes=65_536), _Socket()
    wire.connection_made(link)
    wire.send(b"")
    for piece in pieces(data):
        if not link.closed:
            wire.data_received(piece)
    wire.connection_lost(None)
    with suppress(UpstreamError):
        await wire.head()
        body = b""
        while piece := await wire.read():
            body += piece
        assert len(body) <= len(data)


_loop: Final = asyncio.new_event_loop()


def read_http(data: bytes) -> None:
    """An answer, a fault, never anything else, whatever an upstream sends and wherever it is cut."""
    _loop.run_until_complete(_read_http(data))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"json": read_json, "events": read_events, "http": read_http}


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["mcphub.core.strictjson", "upstreams.transports", "json"]):
        import upstreams.transports.events
        import upstreams.transports.http1  # noqa: F401  # the three are what is looked into
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
