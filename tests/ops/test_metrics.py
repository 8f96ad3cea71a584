"""`/metrics` as Prometheus reads it: what it counts, over all workers of a machine, and who may read it."""

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.hub import Hub, servers_file
from tests.harness.raw import raw_client
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import sdk_stdio
from tests.harness.waiting import until

SDK = {"org": "default", "upstream": "sdk"}


def read(hub: Hub, **headers: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels."""
    answer = httpx.get(f"{hub.url}/metrics", headers=headers)
    assert answer.status_code == httpx.codes.OK
    families = text_string_to_metric_families(answer.text)
    return {(each.name, frozenset(each.labels.items())): each.value for one in families for each in one.samples}


def value(hub: Hub, name: str, **labels: str) -> float:
    """One sample; 0 when there is none."""
    return read(hub).get((name, frozenset(labels.items())), 0)


@pytest.mark.requirement("X2")
async def test_calls_decisions_and_upstreams_are_counted(tmp_path: Path) -> None:
    servers = {"sdk": sdk_stdio(tmp_path / "marks"), "gone": {"url": "http://127.0.0.1:9/mcp"}}
    with Hub(tmp_path / "hub") as hub:
        hub.up("--config", str(servers_file(tmp_path / "servers.json", servers))).until_listed("sdk")
        viewer = hub.manage_json("create_key", "viewer", "--role", "viewer")["key"]
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            for _ in range(3):
                await client.call("sdk__echo", text="hi")
            await client.call("sdk__fail")
        async with raw_client(hub.mcp_url, viewer, "modern") as client:
            await client.send("tools/call", {"name": "sdk__mark", "arguments": {"word": "no"}})

        echoed = {"tool": "echo", "risk": "read", "outcome": "completed"}
        until("the calls", lambda: value(hub, "mcphub_calls_total", **SDK, **echoed) == 3)
        until("the denial", lambda: value(hub, "mcphub_decisions_total", org="default", effect="deny") == 1)
        samples = read(hub)
    assert samples["mcphub_decisions_total", frozenset({"org": "default", "effect": "allow"}.items())] == 4
    assert samples["mcphub_call_seconds_count", frozenset(SDK.items())] == 4
    assert 0 < samples["mcphub_call_seconds_sum", frozenset(SDK.items())] < 60
    assert samples["mcphub_result_bytes_total", frozenset(SDK.items())] > 40
    assert samples["mcphub_upstream_up", frozenset(SDK.items())] == 1
    assert samples["mcphub_upstream_up", frozenset({**SDK, "upstream": "gone"}.items())] == 0
    assert samples["mcphub_upstream_breaker_open", frozenset(SDK.items())] == 0


@pytest.mark.requirement("X2", "X6")
async def test_workers_of_one_machine_are_counted_together(
    tmp_path: Path, postgresql: PostgreSQL, redis: Redis
) -> None:
    with Hub(tmp_path / "hub", key=None, database_url=postgresql.url, redis_url=redis.url) as hub:
        hub.prepare(servers_file(tmp_path / "servers.json", {"sdk": sdk_stdio(tmp_path / "marks")}))
        hub.serve("--workers", "2")
        for _ in range(8):  # whichever worker answers
            hub.until_listed("sdk")
        for number in range(12):
            async with raw_client(hub.mcp_url, hub.key, "modern") as client:
                await client.call("sdk__echo", text=str(number))
        for _ in range(4):
            until("all calls", lambda: value(hub, "mcphub_call_seconds_count", **SDK) == 12)


@pytest.mark.requirement("X2")
def test_only_this_machine_and_the_token_may_read(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub", metrics_token="open-sesame-open-sesame") as hub:
        hub.up()
        url = f"{hub.url}/metrics"
        forwarded = {"X-Forwarded-For": "203.0.113.7"}
        assert httpx.get(url).status_code == httpx.codes.OK
        for header in (*forwarded, "X-Real-IP", "Forwarded", "Via", "CF-Connecting-IP"):
            assert httpx.get(url, headers={header: "203.0.113.7"}).status_code == httpx.codes.FORBIDDEN
        assert httpx.get(url, headers={"Host": "rebound.example"}).status_code == httpx.codes.MISDIRECTED_REQUEST
        for wrong in ("open-sesame", "open-sesame-open-sesame2"):
            guess = {**forwarded, "Authorization": f"Bearer {wrong}"}
            assert httpx.get(url, headers=guess).status_code == httpx.codes.FORBIDDEN
        good = {**forwarded, "Authorization": "Bearer open-sesame-open-sesame"}
        assert httpx.get(url, headers=good).status_code == httpx.codes.OK
