"""What no client may send: refused with the specified code, counted, and harmless to everybody else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from gateway.eras.methods import ONLY_IN
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ACCEPT, ERAS, MODERN, PROTOCOL, Era, RpcFailed, raw_client
from tests.harness.upstreams import sdk_stdio

INVALID_PARAMS: Final = -32602
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A running hub whose lists come in small pages."""
    folder = tmp_path_factory.mktemp("bad-input")
    with Hub(folder / "hub", limits="page_size=3") as hub:
        yield hub.up("--config", _servers(folder)).until_listed("sdk")


def _servers(folder: Path) -> str:
    return str(servers_file(folder / "servers.json", {"sdk": sdk_stdio(folder / "marks")}))


@pytest.fixture(scope="module")
def other_key(hub: Hub) -> str:
    """The key of another principal of the same org, with the same rights."""
    return str(hub.manage_json("create_key", "other", "--org", "default", "--role", "owner")["key"])


def refusals(hub: Hub, code: int) -> float:
    """How many errors with this code the hub has counted."""
    for line in httpx.get(f"{hub.url}/metrics").text.splitlines():
        if line.startswith(f'mcphub_errors_total{{code="{code}"}}'):
            return float(line.split()[1])
    return 0


@pytest.mark.requirement("P4")
@pytest.mark.parametrize(("method", "era"), [(method, ERAS[only == "handshake"]) for method, only in ONLY_IN.items()])
async def test_method_of_the_other_era_does_not_exist(hub: Hub, method: str, era: Era):
    before = refusals(hub, METHOD_NOT_FOUND)
    async with raw_client(hub.mcp_url, hub.key, era) as client:
        with pytest.raises(RpcFailed) as refused:
            await client.request(method, {"uri": "note://today", "level": "info", "taskId": "1"})
        assert refused.value.error["code"] == METHOD_NOT_FOUND
        assert refused.value.status == (404 if era == "modern" else 200)
        assert (await client.call("sdk__echo", text="still here"))["content"][0]["text"] == "still here"
    assert refusals(hub, METHOD_NOT_FOUND) == before + 1


@pytest.mark.parametrize("missing", ["protocolVersion", "clientCapabilities"])
async def test_request_without_its_envelope_is_refused(hub: Hub, missing: str):
    envelope = {f"{PROTOCOL}/protocolVersion": MODERN, f"{PROTOCOL}/clientCapabilities": {}}
    del envelope[f"{PROTOCOL}/{missing}"]
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": envelope}}
    headers = {"Accept": ACCEPT, "Authorization": f"Bearer {hub.key}", "Mcp-Method": "tools/list"}
    before = refusals(hub, INVALID_PARAMS)
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(hub.mcp_url, json=message, headers=headers | {"MCP-Protocol-Version": MODERN})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, INVALID_PARAMS)
    assert refusals(hub, INVALID_PARAMS) == before + 1


@pytest.mark.requirement("P11")
@pytest.mark.parametrize("era", ERAS)
async def test_cursor_opens_only_its_own_list_for_its_own_principal(hub: Hub, other_key: str, era: Era):
    before = refusals(hub, INVALID_PARAMS)
    async with (
        raw_client(hub.mcp_url, hub.key, era) as client,
        raw_client(hub.mcp_url, other_key, era) as stranger,
        raw_client(f"{hub.mcp_url}/default", hub.key, era) as elsewhere,
    ):
        first = await client.request("tools/list", {})
        cursor = first["nextCursor"]
        altered = cursor[:-5] + ("A" if cursor[-5] != "A" else "B") + cursor[-4:]
        forged: list[Any] = ["x", "A" * 300, "é", 7, ["x"], {"page": 2}, altered]
        misused = [
            *((client, "tools/list", each) for each in forged),
            (stranger, "tools/list", cursor),
            (elsewhere, "tools/list", cursor),
            (client, "prompts/list", cursor),
        ]
        for caller, method, each in misused:
            with pytest.raises(RpcFailed) as refused:
                await caller.request(method, {"cursor": each})
            assert refused.value.error["code"] == INVALID_PARAMS
        assert (await client.request("tools/list", {"cursor": cursor}))["tools"] != first["tools"]
        assert (await client.request("tools/list", {"cursor": ""}))["tools"] == first["tools"]
    assert refusals(hub, INVALID_PARAMS) == before + len(misused)


@pytest.mark.requirement("P7")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("end", [{"result": {"action": "accept"}}, {"error": {"code": -1, "message": "no"}}], ids=str)
async def test_reply_that_nobody_asked_for_is_refused(hub: Hub, era: Era, end: dict[str, Any]):
    before = refusals(hub, INVALID_REQUEST)
    async with raw_client(hub.mcp_url, hub.key, era) as client:
        for id_ in (1, "1", "nobody"):
            answer = await client.post({"jsonrpc": "2.0", "id": id_, **end})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, INVALID_REQUEST)
        assert (await client.call("sdk__echo", text="still here"))["content"][0]["text"] == "still here"
    assert refusals(hub, INVALID_REQUEST) == before + 3
