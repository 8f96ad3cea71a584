"""An upstream that says what it is told to: `python -m tests.transparency.upstream handshake|modern PORT`.

`tools/call` and `prompts/get` answer with the JSON text in their argument `say`, byte for byte, or, without one,
with the parameters that arrived. `resources/read` answers with the text that stands in the URI after `say:`,
as URL-safe Base64.
"""

import base64
import json
import sys
from typing import Any, Final

import uvicorn

from tests.harness.upstreams.one_era import Receive, Scope, Send, only
from tests.transparency.definitions import DEFINITIONS

INFO: Final = {"name": "said", "version": "1"}
CAPABILITIES: Final[dict[str, Any]] = {"tools": {}, "prompts": {}, "resources": {}}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers POST with JSON; there are no streams and no sessions."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    body = b""
    while (part := await receive()).get("more_body"):
        body += part["body"]
    message = json.loads(body + part["body"]) if scope["method"] == "POST" else {}
    if "id" not in message:
        await _respond(send, 202 if message else 405, b"")
        return
    result = _result(message["method"], message.get("params", {}))
    await _respond(send, 200, b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (message["id"], result))


def _result(method: str, params: dict[str, Any]) -> bytes:
    if method == "resources/read":
        return base64.urlsafe_b64decode(params["uri"].removeprefix("say:"))
    said = params.get("arguments", {}).get("say")
    if isinstance(said, str):
        return said.encode()
    return json.dumps(_facts(method) or {"resultType": "complete", "content": [], "heard": params}).encode()


def _facts(method: str) -> dict[str, Any]:
    modern = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    about = {"capabilities": CAPABILITIES, "serverInfo": INFO}
    return {
        "initialize": {"protocolVersion": "2025-11-25", **about},
        "server/discover": {**modern, "supportedVersions": ["2026-07-28"], **about},
        "tools/list": {**modern, "tools": DEFINITIONS},
        "prompts/list": {**modern, "prompts": [{"name": "say"}]},
        "resources/list": {**modern, "resources": []},
        "resources/templates/list": {**modern, "resourceTemplates": [{"name": "say", "uriTemplate": "say:{text}"}]},
    }.get(method, {})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    era, port = sys.argv[1], int(sys.argv[2])
    uvicorn.run(only(era, app), host="127.0.0.1", port=port, log_level="warning")  # type: ignore[arg-type]  # two literals
