"""An upstream behind the SDK's bearer protection: `python -m tests.harness.upstreams.guarded_server ERA PORT`.

`ACCOUNTS` names a JSON file, read at each request: token → `{"account", "scopes"}`. A token stands in `Authorization`
or, as some services have it, bare in `X-Api-Key`. `get_headers` gives back what came over the wire; `get_wide` is
listed and allowed for accounts with the scope `notes:write` only, and refused to others with the challenge of
RFC 6750. Every request appends its headers as a line to the file named by `DUMP`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import AnyHttpUrl

from tests.harness.upstreams.one_era import App, Receive, Scope, Send, only

WIDE: Final = "notes:write"
CHALLENGE: Final = f'Bearer error="insufficient_scope", scope="{WIDE} notes:read"'.encode()


class Accounts:
    """Knows the tokens of the file."""

    async def verify_token(self, token: str) -> AccessToken | None:
        found = json.loads(Path(os.environ["ACCOUNTS"]).read_text()).get(token)
        if found is None:
            return None
        return AccessToken(token=token, client_id=found["account"], scopes=found["scopes"])


class Guarded(MCPServer):
    """Lists to each account what is open to it."""

    async def list_tools(self) -> Any:
        return [tool for tool in await super().list_tools() if tool.name != "get_wide" or WIDE in _scopes()]


def get_account(nonce: str) -> str:
    """Which account calls, with the nonce that it was called with."""
    token = get_access_token()
    return f"{token.client_id if token else 'nobody'} {nonce}"


def get_headers(context: Context[Any, Any]) -> str:
    """All headers of the request that carried this call."""
    return json.dumps(dict(context.headers or {}))


def get_wide(text: str) -> str:
    """Needs a wider scope."""
    return f"wrote {text}"


def _scopes() -> list[str]:
    token = get_access_token()
    return token.scopes if token else []


def guarded(app: App) -> App:
    """`app` with the header of keys taken for a token, with what came dumped, and with `get_wide` held back."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        said = {name.decode(): value.decode() for name, value in scope["headers"]}
        with Path(os.environ["DUMP"]).open("a") as dump:
            dump.write(json.dumps(said) + "\n")
        if key := said.get("x-api-key"):
            scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {key}".encode())]
        message = await receive()
        if b'"get_wide"' in message.get("body", b"") and not _is_wide(said):
            await _refuse(send)
            return
        waiting = [message]

        async def again() -> Any:
            return waiting.pop() if waiting else await receive()

        await app(scope, again, send)

    return serve


def _is_wide(said: dict[str, str]) -> bool:
    token = said.get("x-api-key") or said.get("authorization", "").removeprefix("Bearer ")
    known = json.loads(Path(os.environ["ACCOUNTS"]).read_text())
    return WIDE in known.get(token, {"scopes": [WIDE]})["scopes"]


async def _refuse(send: Send) -> None:
    said = [(b"content-type", b"text/plain"), (b"www-authenticate", CHALLENGE)]
    await send({"type": "http.response.start", "status": 403, "headers": said})
    await send({"type": "http.response.body", "body": b"no"})


def main(era: str, port: str) -> None:
    here = AnyHttpUrl(f"http://127.0.0.1:{port}")
    auth = AuthSettings(issuer_url=here, resource_server_url=AnyHttpUrl(f"{here}mcp"), validate_token_resource=False)
    server = Guarded("guarded", token_verifier=Accounts(), auth=auth)
    for tool in (get_account, get_headers, get_wide):
        server.add_tool(tool, structured_output=False, annotations=ToolAnnotations(read_only_hint=True))
    app: Any = server.streamable_http_app()
    uvicorn.run(guarded(app if era == "both" else only(era, app)), host="127.0.0.1", port=int(port))  # type: ignore[arg-type]  # one of three words


if __name__ == "__main__":
    main(*sys.argv[1:])
