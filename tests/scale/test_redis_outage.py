"""F31: Redis goes away while calls are under way, and comes back."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

from tests.harness.clients import python_client
from tests.harness.hub import Hub
from tests.harness.waiting import until
from tests.scale.by_hand import Gate, moved, session_at
from tests.scale.conftest import Pair, recovered, running_pair, text_of


def parts(hub: Hub) -> set[str]:
    """What `/ready` says is missing."""
    return set(httpx.get(f"{hub.url}/ready", timeout=10).json().get("parts", ()))


async def passing(client: Client, pair: Pair, gate: Gate) -> asyncio.Task[Any]:
    """A call under way that waits at this gate."""
    begun = asyncio.Event()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        begun.set()

    call = client.call_tool("counting__pass_gate", {"gate": gate.name}, progress_callback=note)
    task = asyncio.create_task(call)
    await begun.wait()
    return task


def fault(result: Any) -> tuple[str, str]:
    assert result.is_error
    return result.meta["mcphub/error"]["reason"], result.meta["mcphub/error"]["outcome"]


@pytest.mark.requirement("X6", "X5")
@pytest.mark.timeout(180)
async def test_f31_calls_go_on_where_they_can_and_everything_recovers(tmp_path: Path) -> None:
    with running_pair(tmp_path, lease_s=30) as pair:
        owner, other = pair.owner()
        async with (
            python_client(owner.mcp_url, owner.key, "2026-07-28") as near,
            python_client(other.mcp_url, other.key, "2026-07-28") as far,
        ):
            gates = Gate(pair), Gate(pair)
            calls = [await passing(client, pair, gate) for client, gate in zip((near, far), gates, strict=True)]
            pair.shared.redis.stop()
            await without_redis(pair, near, far)
            for gate in gates:
                gate.open()
            assert text_of(await calls[0]) == "passed"
            async with asyncio.timeout(10):
                assert fault(await calls[1]) == ("lost", "unknown")
            pair.shared.redis.start()
            for hub in pair.hubs:
                await asyncio.to_thread(until, "its readiness", hub.is_ready, 30)
            assert int(await recovered(far)) > 2
        await sessions_meet_again(pair)
        assert len(pair.starts()) == 1


async def without_redis(pair: Pair, near: Client, far: Client) -> None:
    """Degraded is shown; what needs no other process goes on, the rest is refused at once and certainly not done."""
    for hub in pair.hubs:
        await asyncio.to_thread(until, "the missing part's name", lambda hub=hub: parts(hub) == {"redis"})
        assert httpx.get(f"{hub.url}/healthz").status_code == 200
    assert text_of(await near.call_tool("counting__tally", {})) == "1"
    for client in (near, far):
        await client.call_tool("modern__capabilities", {})
        assert text_of(await client.call_tool("modern__capabilities", {}))
    async with asyncio.timeout(10):
        assert fault(await far.call_tool("counting__tally", {})) == ("unreachable", "not_sent")
    assert text_of(await near.call_tool("counting__tally", {})) == "2"


async def sessions_meet_again(pair: Pair) -> None:
    """What one process says reaches a session's stream at the other, as before."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        home = await session_at(http, pair.hubs[0])
        away = moved(home, pair.hubs[1])
        async with http.stream("GET", home.path, headers=home.headers) as first:
            assert first.status_code == 200
            async with http.stream("GET", away.path, headers=away.headers) as second:
                assert second.status_code == 200
                async with asyncio.timeout(10):
                    assert b": open" in b"".join([piece async for piece in first.aiter_bytes()])
