"""How clients are told of the hub: configuration to paste."""

import json
import shlex
from dataclasses import dataclass
from typing import Any, Final

PLACEHOLDER: Final = "YOUR-KEY"


@dataclass(frozen=True, slots=True)
class Snippet:
    """Text for one kind of client; `where` says what to do with it."""

    client: str
    where: str
    text: str


def mcp_servers(url: str, key: str) -> dict[str, Any]:
    """An `mcpServers` document for the endpoint; without headers when `key` is ""."""
    entry: dict[str, Any] = {"type": "http", "url": url}
    if key:
        entry["headers"] = _headers(key)
    return {"mcpServers": {"hub": entry}}


def snippets(url: str, key: str) -> tuple[Snippet, ...]:
    """For the usual clients. `key` is "" where none is needed (open mode)."""
    servers = mcp_servers(url, key)
    options = f" --header {shlex.quote(f'Authorization: Bearer {key}')}" if key else ""
    code = {"servers": servers["mcpServers"]}
    return (
        Snippet("Clients that read mcpServers", "into their configuration file", _json(servers)),
        Snippet("Claude Code", "in a terminal", f"claude mcp add --transport http hub {shlex.quote(url)}{options}"),
        Snippet("VS Code", "into .vscode/mcp.json", _json(code)),
        Snippet("MCP Inspector", "in a terminal", _inspector(url, key)),
    )


def _inspector(url: str, key: str) -> str:
    options = f" --header {shlex.quote(f'Authorization: Bearer {key}')}" if key else ""
    command = "npx @modelcontextprotocol/inspector@2 --cli"
    return f"{command} {shlex.quote(url)} --transport http --method tools/list{options}"


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _json(document: Any) -> str:
    return json.dumps(document, indent=2)
