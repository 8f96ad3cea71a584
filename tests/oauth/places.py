"""A little web of documents: what stands at which path, and who asked for what. Real HTTP, in threads."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One answer; a mapping is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Place:
    """One origin. `at` maps `METHOD path` to its answer; `asked` is every request, `sent` what came with each."""

    url: str = ""
    at: dict[str, Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    def document(self, path: str, **content: Any) -> None:
        """Publish a JSON document."""
        self.at[f"GET {path}"] = Reply(body=content)

    def server(self, path: str = "/.well-known/oauth-authorization-server", base: str = "", **changes: Any) -> None:
        """Publish the metadata of an authorization server at `url + base`; None leaves a member out."""
        issuer = self.url + base
        content = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "registration_endpoint": f"{issuer}/register",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            **changes,
        }
        self.document(path, **{name: value for name, value in content.items() if value is not None})


@contextmanager
def place() -> Iterator[Place]:
    """An origin on a port of its own, until the block ends."""
    here = Place()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            here.asked.append(f"{self.command} {self.path.partition('?')[0]}")
            here.sent.append((dict(self.headers.items()), self.rfile.read(length)))
            reply = here.at.get(here.asked[-1], Reply(404))
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            kind = {} if isinstance(reply.body, bytes) else {"content-type": "application/json"}
            self.send_response(reply.status)
            for name, value in {**kind, **reply.headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815  # the names that the base class looks for

        def log_message(self, format: str, *args: Any) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    here.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
