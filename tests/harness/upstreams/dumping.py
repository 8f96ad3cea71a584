"""An HTTP upstream of either era that answers each call with the headers and parameters that reached it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.harness.raw import HANDSHAKE, MODERN, Era

TOOL = {"name": "dump", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
INFO = {"name": "dumping", "version": "1"}


@dataclass
class Dumping:
    """With `spilling` every call ends with a page of the server's that shows its headers.

    `seen` are all requests so far: method (of HTTP, or of JSON-RPC), headers in lower case, body.
    """

    era: Era
    sessions: bool
    port: int = 0
    spilling: bool = False
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def answer(self, message: dict[str, Any], headers: dict[str, str]) -> Any:
        """The result of a request, None for a method that there is not."""
        method, params = message["method"], message.get("params", {})
        if method == "server/discover" and self.era == "modern":
            return {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "serverInfo": INFO}
        if method == "initialize" and self.era == "handshake":
            return {"protocolVersion": HANDSHAKE, "capabilities": {"tools": {}}, "serverInfo": INFO}
        if method == "tools/list":
            return {"tools": [TOOL]}
        if method == "tools/call":
            dump = json.dumps({"headers": headers, "params": params})
            return {"content": [{"type": "text", "text": dump}]}
        return {} if method == "ping" else None


@contextmanager
def dumping(era: Era, *, sessions: bool = True) -> Iterator[Dumping]:
    """Such a server in a thread; in the handshake era with a session id or without."""
    state = Dumping(era, sessions)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            message = json.loads(self.rfile.read(int(headers["content-length"])))
            state.seen.append((message.get("method", "response"), headers, message))
            if "id" not in message:
                return self._end(202, b"")
            if state.spilling and message["method"] == "tools/call":
                return self._end(500, f"<h1>Traceback</h1>{headers}".encode())
            result = state.answer(message, headers)
            shared = {"jsonrpc": "2.0", "id": message["id"]}
            if result is None:
                return self._end(404, json.dumps({**shared, "error": {"code": -32601, "message": "no"}}).encode())
            if era == "modern":
                result = {"resultType": "complete", **result}
            return self._end(200, json.dumps({**shared, "result": result}).encode())

        def do_GET(self) -> None:
            state.seen.append(("GET", {name.lower(): value for name, value in self.headers.items()}, None))
            self._end(405, b"")

        def do_DELETE(self) -> None:
            self.do_GET()

        def _end(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if era == "handshake" and state.sessions and status == 200:
                self.send_header("mcp-session-id", "one")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
