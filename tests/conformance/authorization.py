"""The `authorization` part of the official suite: the hub as authorization server, a person at a real browser."""

import asyncio
import json
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.authserver.chromium import chromium, let_in, person, sign_in
from tests.conformance.suite import PACKAGE, Scenario, scenario
from tests.harness import node
from tests.harness.hub import Hub
from tests.harness.processes import free_port

ADDRESS: Final = re.compile(rb"https?://\S+/oauth/authorize\?\S+")
RUN_S: Final = 120


async def authorization(hub: Hub, folder: Path) -> Mapping[str, Scenario]:
    """Every scenario by name. Raises `AssertionError` with the suite's own words when one did not pass."""
    port, modules = free_port(), node.modules()
    command = [
        *(modules / ".bin" / "node", modules / PACKAGE / "dist" / "index.js", "authorization", "--url", hub.url),
        *("--client-id", "mcphub-cli", "--resource", hub.mcp_url, "-p", str(port), "-o", folder),
    ]
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=DEVNULL, stdout=PIPE, env=dict(node.environment())
    )
    assert process.stdout is not None
    printed = b""
    try:
        async with asyncio.timeout(RUN_S), chromium() as browser, person(browser) as page:
            while line := await process.stdout.readline():
                printed += line
                if found := ADDRESS.search(line):
                    await page.goto(found[0].decode())
                    if "/sign-in/" in page.url:
                        await sign_in(page, "ann@example.org")
                    await let_in(page)
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    scenarios = {path.parent.name: scenario(json.loads(path.read_text())) for path in folder.rglob("checks.json")}
    assert code == 0, printed.decode()
    assert scenarios, printed.decode()
    assert {name: found.remarks for name, found in scenarios.items() if found.verdict != "passed"} == {}
    return scenarios
