"""How much of a call's arguments the record keeps, as an operator chose it for the upstream in the admin."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import raw_client
from tests.harness.upstreams import sdk_stdio

UPSTREAMS = "/admin/upstreams/upstream/"
GIVEN = {"text": "seen", "api_key": "sk-planted-in-the-arguments"}
KEPT: dict[str, Any] = {
    "none": None,
    "hash": None,
    "redacted": {"text": "seen", "api_key": "[redacted]"},
    "full": GIVEN,
}


@pytest.mark.requirement("A3", "D12")
async def test_record_keeps_of_arguments_what_the_operator_chose(hub: Hub, tmp_path: Path):
    hub.up()
    hub.manage("import_servers", str(servers_file(tmp_path / "servers.json", {"sdk": sdk_stdio(tmp_path / "marks")})))
    hub.until_listed("sdk")
    with Browser(hub.url) as operator:
        operator.sign_in("owner@example.org")
        path = re.search(rf"{UPSTREAMS}[0-9a-f-]+/change/", operator.get(UPSTREAMS))
        assert path is not None
        for mode, kept in KEPT.items():
            operator.submit(path.group(), "upstream_form", payload_mode=mode)
            async with raw_client(hub.mcp_url, hub.key, "modern") as client:
                assert (await client.call("sdk__echo", **GIVEN))["content"][0]["text"] == "seen"
            (*_, intent) = _intents(hub)
            assert intent["payload_mode"] == mode
            assert intent["payload"] == kept
            assert bool(intent["payload_digest"]) == (mode != "none")
    assert hub.manage_json("verify_audit")["ok"]


def _intents(hub: Hub) -> list[dict[str, Any]]:
    lines = hub.manage("export_audit", "--kind", "intent", "--upstream", "sdk").splitlines()
    return [json.loads(line) for line in lines]
