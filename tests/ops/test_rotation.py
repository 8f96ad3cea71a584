"""Encryption keys turn while the hub works: nothing fails, nothing becomes unreadable (F57, F58)."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from mcphub.core.keyring import key_id
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ERAS, Era, ask, raw_client
from tests.harness.services import PostgreSQL
from tests.harness.upstreams import sdk_stdio

OLD: Final = "Wm4tB8nQ2kVx7zLp5cYr9dJh3gSf6aEu1oTi"
NEW: Final = "Zq8vN2rT5yLw9pXc3mKd7sHj4bGf6aEu1oRi"
SECRETS: Final = 60
"""Enough rows that calls and saves fall into the rotation."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose upstreams hold many secrets, under the old key."""
    folder = tmp_path_factory.mktemp("rotation")
    server = PostgreSQL() if request.param == "postgresql" else None
    settings = {"encryption_keys": OLD}
    if server is not None:
        server.start()
        settings["database_url"] = server.url
    try:
        with Hub(folder / "hub", **settings) as hub:
            hub.prepare(servers_file(folder / "servers.json", _servers(folder)))
            yield hub.serve().until_listed("worker")
    finally:
        if server is not None:
            server.close()


def _servers(folder: Path) -> dict[str, dict[str, object]]:
    idle = {f"idle-{n}": {"url": f"http://127.0.0.1:9/{n}", "disabled": True} for n in range(SECRETS)}
    secret = {name: {**entry, "headers": {"X-Token": f"canary-{name}"}} for name, entry in idle.items()}
    return {"worker": sdk_stdio(folder / "marks"), **secret}


def turn(hub: Hub, *keys: str) -> None:
    """Stop the hub and start it with these keys."""
    hub.terminate()
    hub.environment["MCPHUB_ENCRYPTION_KEYS"] = ",".join(keys)
    hub.restart()


@pytest.mark.requirement("C8", "F57", "F58")
async def test_f58_keys_turn_under_load_and_the_old_one_can_be_dropped(hub: Hub) -> None:
    turn(hub, NEW, OLD)
    hub.until_listed("worker")
    over = asyncio.Event()

    async def calls(era: Era) -> int:
        count = 0
        async with raw_client(hub.mcp_url, hub.key, era) as client:
            while not over.is_set():
                result = await client.call("worker__echo", text=f"n{count}")
                assert not result.get("isError"), result
                count += 1
        return count

    running = [asyncio.create_task(calls(era)) for era in ERAS]
    done = await asyncio.to_thread(hub.manage_json, "rotate_keys")
    over.set()
    assert all(count > 5 for count in await asyncio.gather(*running))
    assert done["newest"] == key_id(NEW)
    assert done["moved"]["upstreams.upstream"] == SECRETS + 1
    assert not done["stuck"]
    assert done["droppable"] == [key_id(OLD)], done["uses"]
    assert hub.manage_json("rotate_keys")["moved"]["upstreams.upstream"] == 0

    turn(hub, NEW)
    hub.until_listed("worker")
    assert ask(hub.mcp_url, hub.key, "tools/call", {"name": "worker__echo", "arguments": {"text": "on"}})
    assert not [
        item
        for item in json.loads(hub.manage("doctor", "--json"))["findings"]
        if item["about"] == "encryption keys" and item["level"] != "ok"
    ]


@pytest.mark.requirement("F57")
def test_f57_start_without_a_needed_key_is_refused_and_names_it(hub: Hub) -> None:
    now = hub.environment["MCPHUB_ENCRYPTION_KEYS"]
    hub.terminate()
    hub.environment["MCPHUB_ENCRYPTION_KEYS"] = "Yt5uI8oP2aSd6fGh1jKl4zXc9vBn3mQw7eRt"
    hub.serve(wait=False)
    assert hub.process.wait(20) != 0
    assert key_id(now.split(",")[0]) in hub.output
    hub.environment["MCPHUB_ENCRYPTION_KEYS"] = now
    hub.serve()
