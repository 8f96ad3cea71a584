"""Calls too many over real connections: in both eras, at once after an edit, over processes, and without Redis."""

import asyncio
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ERAS, Era, RpcFailed, ask, raw_client
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import asking_http, sdk_stdio
from tests.harness.waiting import until

ASKS = {"name": "modern__capabilities", "arguments": {}}
ECHO = {"name": "sdk__echo", "arguments": {"text": "hi"}}


def put(hub: Hub, name: str, **limit: Any) -> None:
    url = f"{hub.url}/api/v1/orgs/default/rate-limits/{name}"
    answer = httpx.put(url, json=limit, headers={"X-API-Key": hub.key}, trust_env=False, timeout=60)
    assert answer.is_success, answer.text


def remove(hub: Hub, name: str) -> None:
    url = f"{hub.url}/api/v1/orgs/default/rate-limits/{name}"
    assert httpx.delete(url, headers={"X-API-Key": hub.key}, trust_env=False, timeout=60).is_success


def why(result: Any) -> str:
    return str(result.get("_meta", {}).get("mcphub/error", {}).get("reason", ""))


def call(hub: Hub, params: Any) -> str:
    """One call; "" when it went through, else the reason."""
    return why(ask(hub.mcp_url, hub.key, "tools/call", params))


def echo(hub: Hub) -> str:
    """One call of the tool that most limits here are about."""
    return call(hub, ECHO)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("rates")
    with Hub(folder / "hub") as running:
        running.up("--config", str(servers_file(folder / "servers.json", {"sdk": sdk_stdio(folder / "marks")})))
        yield running.until_listed("sdk")


@pytest.mark.requirement("O12")
@pytest.mark.parametrize("era", ERAS)
async def test_a_call_too_many_is_told_the_limit_and_the_seconds(hub: Hub, era: Era) -> None:
    key = hub.manage_json("create_key", f"limited-{era}", "--org", "default", "--role", "operator")["key"]
    put(hub, "two", calls=2, seconds=600, upstreams=["sdk"], tools=["echo", "note:*"])
    try:
        async with raw_client(hub.mcp_url, key, era) as client:
            for _ in range(2):
                assert why(await client.call("sdk__echo", text="x")) == ""
            refused = await client.call("sdk__echo", text="x")
            facts = refused["_meta"]["mcphub/error"]
            assert (facts["reason"], facts["retryable"], facts["outcome"]) == ("rate_limited", True, "not_sent")
            assert 1 <= facts["retry_after"] <= 600
            assert f"'two' allows 2 calls in 600 s for each principal. Wait {facts['retry_after']} s." in str(refused)
            assert why(await client.call("sdk__count", to=1)) == "", "the limit speaks of other tools only"
            with pytest.raises(RpcFailed) as read:
                await client.request("resources/read", {"uri": "note://monday"})
            assert read.value.error["code"] == -31010
            assert read.value.status == (429 if era == "modern" else 200)
            assert read.value.error["data"]["mcphub/error"]["retry_after"] >= 1
        assert echo(hub) == "", "another principal is counted by itself"
    finally:
        remove(hub, "two")
    assert echo(hub) == ""


@pytest.mark.requirement("O12")
def test_an_edit_in_the_admin_holds_at_once_and_ends_at_once(hub: Hub) -> None:
    path = "/admin/policies/ratelimit/add/"
    with Browser(hub.url) as browser:
        browser.sign_in("owner@example.org")
        browser.submit(path, "ratelimit_form", name="one", calls="1", seconds="600", per="org", tools="echo")
        until("the limit", lambda: echo(hub) == "rate_limited")
        page = browser.get("/admin/policies/ratelimit/")
        assert "1 in 600 s" in page
    remove(hub, "one")
    until("the end of the limit", lambda: echo(hub) == "")


@pytest.mark.requirement("O12")
def test_a_quota_of_calls_is_a_limit_that_hub_admins_set(hub: Hub) -> None:
    def shell(code: str) -> None:
        imports = "from mcphub.accounts import quotas; from mcphub.accounts.models import Org, OrgQuota"
        hub.manage("shell", "--no-imports", "-c", f"{imports}; org = Org.objects.get(slug='default'); {code}")

    shell("only = quotas.installation(); only.calls = 1; only.save()")
    until("the quota of the hub", lambda: echo(hub) == "rate_limited")
    shell("OrgQuota(org=org, calls=10000).save()")
    until("the org's own in its place", lambda: echo(hub) == "")
    shell("OrgQuota.objects.get(org=org).delete()")
    until("the hub's again", lambda: echo(hub) == "rate_limited")
    shell("only = quotas.installation(); only.calls = None; only.save()")
    until("no quota", lambda: echo(hub) == "")


@pytest.mark.requirement("O12")
def test_a_hidden_tool_is_unknown_whatever_its_limit(hub: Hub) -> None:
    key = hub.manage_json("create_key", "viewer-of-limits", "--org", "default", "--role", "viewer")["key"]
    put(hub, "hidden", calls=1, seconds=600, tools=["mark"])
    try:
        for _ in range(3):
            with pytest.raises(RpcFailed, match="Unknown tool"):
                ask(hub.mcp_url, key, "tools/call", {"name": "sdk__mark", "arguments": {"word": "no"}})
    finally:
        remove(hub, "hidden")


@pytest.mark.slow
@pytest.mark.requirement("O12")
async def test_a_flood_of_refusals_is_one_row_and_its_count(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub") as hub:
        servers = servers_file(tmp_path / "servers.json", {"sdk": sdk_stdio(tmp_path / "marks")})
        hub.up("--config", str(servers)).until_listed("sdk")
        put(hub, "few", calls=5, seconds=600, tools=["echo"])
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            answers = []
            for _ in range(30):
                answers += await asyncio.gather(*(client.call("sdk__echo", text="x") for _ in range(20)))
        assert [why(each) for each in answers].count("") == 5
        metrics = httpx.get(f"{hub.url}/metrics", trust_env=False).text
        hub.terminate()
        with closing(sqlite3.connect(hub.database)) as database:
            rows = database.execute(
                "SELECT json_extract(details, '$.denials') FROM audit_auditevent WHERE rule = 'gate:rate_limited'"
            ).fetchall()
    assert sum((count or 1) for (count,) in rows) == 595
    assert len(rows) <= 4, "one row and its count a window; a slow flood spans two"
    assert 'mcphub_rate_limited_total{org="default",upstream="sdk"} 1.0' in metrics


@contextmanager
def two_hubs(folder: Path, upstream: str) -> Iterator[tuple[Hub, Hub, Redis]]:
    """Two web processes on one PostgreSQL and one Redis."""
    postgresql, redis = PostgreSQL(), Redis(folder / "redis")
    postgresql.start()
    redis.start()
    settings = {
        "database_url": postgresql.url,
        "redis_url": redis.url,
        "encryption_keys": secrets.token_hex(),
        "secret_key": secrets.token_hex(),
        "data_dir": str(folder / "data"),
    }
    try:
        prepared = Hub(folder / "prepared", key=None, **settings)
        prepared.prepare(servers_file(folder / "servers.json", {"modern": {"url": upstream}}))
        hubs = [Hub(folder / name, key=prepared.key, **settings) for name in ("one", "two")]
        with hubs[0] as one, hubs[1] as two:
            for hub in (one, two):
                hub.serve(wait=False)
            for hub in (one, two):
                until("the hub's readiness", hub.is_ready)
                hub.until_listed("modern")
            yield one, two, redis
    finally:
        redis.stop()
        postgresql.close()


@pytest.mark.slow
@pytest.mark.requirement("O12")
def test_processes_share_a_window_and_count_for_themselves_while_redis_is_away(tmp_path: Path) -> None:
    with asking_http(tmp_path, "modern") as upstream, two_hubs(tmp_path, upstream) as (one, two, redis):
        put(one, "six", calls=6, seconds=600, per="tool", tools=["capabilities"])
        put(one, "any", calls=100, seconds=600, per="org")
        until("the limit at both", lambda: _limited(one) and _limited(two), 10)
        taken = [call(hub, ASKS) for hub in [one, two] * 6]
        assert taken.count("") == 6
        assert set(taken) == {"", "rate_limited"}
        redis.stop()
        alone = [call(hub, ASKS) for hub in [one, two] * 7]
        assert alone.count("") == 12, "each process counts for itself, and no call waits for Redis"
        redis.start()
        until("Redis again", lambda: call(one, ASKS) == call(two, ASKS) == "rate_limited", 30)


def _limited(hub: Hub) -> bool:
    url = f"{hub.url}/api/v1/orgs/default/rate-limits"
    items = httpx.get(url, headers={"X-API-Key": hub.key}, trust_env=False, timeout=60).json()["items"]
    return len(items) == 2
