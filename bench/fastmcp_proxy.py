"""The peer: `fastmcp`'s own proxy with a bearer key. `python -m bench.fastmcp_proxy PORT KEY KEPT|FRESH URL…`

`FRESH` is `create_proxy(url)` as its documentation shows it, with an upstream client per call; `KEPT` keeps one
client connected, which only one upstream and one caller's identity allow. Several URLs make one proxy over all.
"""

import asyncio
import sys
from typing import Any

from fastmcp import Client, FastMCP
from fastmcp.server import create_proxy
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier


async def main(port: int, key: str, kept: bool, urls: list[str]) -> None:
    """Serve until the process is ended."""
    if kept:
        async with Client(urls[0]) as client:
            await _serve(create_proxy(client), port, key)
    elif len(urls) == 1:
        await _serve(create_proxy(urls[0]), port, key)
    else:
        servers: dict[str, Any] = {f"bench-{number:03}": {"url": url} for number, url in enumerate(urls)}
        await _serve(create_proxy({"mcpServers": servers}), port, key)


async def _serve(proxy: FastMCP[Any], port: int, key: str) -> None:
    proxy.auth = StaticTokenVerifier({key: {"client_id": "bench", "scopes": []}})
    options = {"loop": "uvloop", "http": "httptools", "access_log": False}
    await proxy.run_http_async(
        show_banner=False, host="127.0.0.1", port=port, log_level="error", json_response=True, uvicorn_config=options
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "KEPT", sys.argv[4:]))
