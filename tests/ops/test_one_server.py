"""`up -- COMMAND` and `up -- URL`: one server alone, with what the command line gives it."""

import json
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import evil_upstream
from tests.harness.hub import ROOT, Hub
from tests.harness.raw import ERAS, Era, raw_client
from tests.harness.upstreams import SDK_SERVER
from tests.harness.waiting import until

HEADERS = {"X-Team": "blue", "Authorization": "Bearer of-the-upstream"}


@pytest.mark.requirement("X8", "U5")
@pytest.mark.parametrize(("kind", "place"), [("streamable-http", "/mcp"), ("sse", "/sse")])
async def test_url_gets_the_headers_given_and_nothing_of_the_clients(tmp_path: Path, kind: str, place: str) -> None:
    with evil_upstream(tmp_path, "handshake") as (config, _), Hub(tmp_path / "hub") as hub:
        url = json.loads(config.read_text())["mcpServers"]["evil"]["url"].removesuffix("/mcp") + place
        hub.up("--server-type", kind, "--header", json.dumps(HEADERS), "--", url)
        until("the first list", lambda: "tools/list" in (tmp_path / "truth").read_text())
        hub.until_listed("act")
        async with raw_client(hub.mcp_url, hub.key, "modern") as client:
            assert await client.names() == ["act"]
            assert (await client.call("act", do="echo", text="hello"))["content"][0]["text"] == "hello"
        seen = [json.loads(line) for line in (tmp_path / "truth").read_text().splitlines()]
        asked = [each["headers"] for each in seen if "headers" in each]
        assert len(asked) > 3
        assert all(headers["x-team"] == "blue" for headers in asked)
        assert all(headers["authorization"] == HEADERS["Authorization"] for headers in asked)
        assert hub.key not in json.dumps(asked)
        assert HEADERS["Authorization"].removeprefix("Bearer ") not in hub.output
        assert hub.terminate() == 0


@pytest.mark.requirement("X8", "N1", "U5")
@pytest.mark.parametrize("era", ERAS)
async def test_command_gets_its_environment_and_keeps_its_names(tmp_path: Path, era: Era) -> None:
    marks = tmp_path / "marks"
    given = ("--env", f"MARKS={marks}", "--env", f"PYTHONPATH={ROOT}")
    with Hub(tmp_path / "hub") as hub:
        hub.up("--server-type", "stdio", *given, "--", sys.executable, "-m", SDK_SERVER).until_listed("mark")
        async with raw_client(hub.mcp_url, hub.key, era) as client:
            await client.call("mark", word="alone")
        async with raw_client(f"{hub.mcp_url}/default", hub.key, era) as client:
            assert "main__mark" in await client.names()
            await client.call("main__mark", word="named")
            await client.call("mark", word="bare")
        assert marks.read_text().split() == ["alone", "named", "bare"]
        assert hub.terminate() == 0
