"""The harness itself does what tests rely on."""

from pathlib import Path
from typing import Literal

import psycopg
import pytest
import redis as redis_client

from tests.harness import node
from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import everything_http, sdk_http


def test_private_postgresql_keeps_its_data_over_a_crash(postgresql: PostgreSQL):
    with psycopg.connect(postgresql.url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    postgresql.stop()
    postgresql.start()
    with psycopg.connect(postgresql.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_private_redis_answers(redis: Redis):
    assert redis_client.Redis.from_url(redis.url).ping()


@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_python_client_speaks_either_era(tmp_path: Path, mode: Mode):
    with sdk_http(tmp_path) as url:
        async with python_client(url, "unused", mode) as client:
            answer = await client.call_tool("measure", {})
    assert answer.structured_content["big"] == 2**60 + 1


@pytest.mark.parametrize(("sdk", "pin", "revision"), [("1", "", "2025-11-25"), ("2", "2026-07-28", "2026-07-28")])
def test_typescript_clients_speak_their_era(tmp_path: Path, sdk: Literal["1", "2"], pin: str, revision: str):
    with sdk_http(tmp_path) as url:
        seen = node.typescript(
            sdk, url, "unused", [("callTool", {"name": "echo", "arguments": {"text": "ü"}})], pin=pin
        )
    assert seen.revision == revision
    assert seen.answers[0]["result"]["content"] == [{"type": "text", "text": "ü"}]


def test_inspector_lists_tools(tmp_path: Path):
    with everything_http(tmp_path) as url:
        listed = node.inspector(url, "unused", "--method", "tools/list")
    assert "echo" in {tool["name"] for tool in listed["tools"]}
