"""An upstream behind the SDK's bearer protection: `python -m tests.harness.upstreams.protected_server PORT ISSUER`.

Tokens are asked about at the authorization server (RFC 7662). `whoami` says whose token it was.
"""

import sys
from typing import Final

import httpx
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from pydantic import AnyHttpUrl

RESOURCE_SERVER: Final = ("resource-server", "resource-server-secret")


class Introspection:
    """Believes what the authorization server says of a token."""

    def __init__(self, issuer: str, resource: str) -> None:
        self._http: Final = httpx.AsyncClient(trust_env=False, timeout=10)
        self._url: Final = f"{issuer}/token/introspection"
        self._resource: Final = resource

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token, if it is good for this resource."""
        answer = (await self._http.post(self._url, data={"token": token}, auth=RESOURCE_SERVER)).json()
        if not answer.get("active") or answer.get("aud") != self._resource:
            return None
        return AccessToken(
            token=token,
            client_id=answer["client_id"],
            scopes=answer.get("scope", "").split(),
            expires_at=answer["exp"],
            subject=answer.get("sub") or answer["client_id"],
        )


def build(port: int, issuer: str) -> MCPServer:
    """The server; its resource identifier is its own URL."""
    resource = f"http://127.0.0.1:{port}/mcp"
    server = MCPServer(
        "protected",
        token_verifier=Introspection(issuer, resource),
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(issuer), resource_server_url=AnyHttpUrl(resource), required_scopes=["tools"]
        ),
    )

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def whoami() -> str:
        """Whose token this was."""
        token = get_access_token()
        return str(token.subject) if token is not None else "nobody"

    return server


if __name__ == "__main__":
    number = int(sys.argv[1])
    build(number, sys.argv[2]).run("streamable-http", host="127.0.0.1", port=number)
