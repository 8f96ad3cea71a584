"""`up` as people start it: real processes, the official client, and the ends they come to."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from mcphub.standalone.servers import DEMO_SCRIPT
from tests.harness.clients import BOTH_ERAS, Mode, python_client
from tests.harness.hub import MANAGE, Hub, servers_file
from tests.harness.waiting import until
from tests.ops.tls import self_signed

DEMO = {"command": sys.executable, "args": [str(DEMO_SCRIPT)]}
NewHub = Callable[..., Hub]


@pytest.fixture
def new_hub(tmp_path: Path) -> Iterator[NewHub]:
    hubs: list[Hub] = []

    def make(**settings: str) -> Hub:
        key = settings.pop("key", "mcph-of-the-tests")
        hubs.append(Hub(tmp_path / f"hub{len(hubs)}", key=key or None, **settings))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.__exit__()


async def tools(hub: Hub, mode: Mode = "2026-07-28", url: str = "") -> set[str]:
    async with python_client(url or hub.mcp_url, hub.key, mode) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


async def until_tools(hub: Hub, wanted: Callable[[set[str]], bool]) -> None:
    """Wait until the list of tools is as wanted."""
    async with asyncio.timeout(30):
        while not wanted(await tools(hub)):
            await asyncio.sleep(0.1)


def refusal(*arguments: str, folder: Path, **settings: str) -> tuple[int, str]:
    """Exit code and standard error of a start that is refused."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    environment["MCPHUB_DATA_DIR"] = str(folder / "data")
    environment |= {f"MCPHUB_{name.upper()}": value for name, value in settings.items()}
    done = subprocess.run(
        [*MANAGE, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


@pytest.mark.requirement("X14")
def test_first_start_prints_a_key_that_works_and_the_second_start_prints_none(new_hub: NewHub) -> None:
    hub = new_hub(key="").up()
    assert f"Dashboard  {hub.url}/" in hub.output
    assert f"MCP        {hub.mcp_url}" in hub.output
    snippet = json.loads(hub.output[hub.output.index("{") : hub.output.rindex("}") + 1])["mcpServers"]["hub"]
    assert snippet["headers"] == {"Authorization": f"Bearer {hub.key}"}
    assert _discover(hub, snippet["headers"]).status_code == 200
    assert _discover(hub, {"Authorization": "Bearer wrong"}).status_code == 401
    key = hub.key
    assert hub.terminate() == 0
    hub.restart()
    assert key not in hub.output
    assert _discover(hub, {"Authorization": f"Bearer {key}"}).status_code == 200


def _discover(hub: Hub, headers: dict[str, str], url: str = "") -> httpx.Response:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return httpx.post(
        url or hub.mcp_url,
        json={"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}},
        headers={
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "server/discover",
            **headers,
        },
    )


@pytest.mark.requirement("X15")
@pytest.mark.parametrize("mode", BOTH_ERAS)
async def test_demo_brings_tools_that_answer(new_hub: NewHub, mode: Mode) -> None:
    hub = new_hub().up("--demo")
    await until_tools(hub, lambda names: "demo__roll_dice" in names)
    async with python_client(hub.mcp_url, hub.key, mode) as client:
        rolled = await client.call_tool("demo__roll_dice", {"sides": 6})
        assert rolled.structured_content["rolled"] in range(1, 7)


@pytest.mark.requirement("X8")
async def test_one_command_stands_unprefixed_on_mcp(new_hub: NewHub) -> None:
    hub = new_hub().up("--env", "A=b", "--", sys.executable, str(DEMO_SCRIPT))
    await until_tools(hub, lambda names: "roll_dice" in names)
    hub.terminate()
    hub = hub.up()
    await until_tools(hub, lambda names: names == set())


@pytest.mark.requirement("X7")
async def test_hot_reload_follows_the_file_and_keeps_the_state_of_a_bad_one(new_hub: NewHub, tmp_path: Path) -> None:
    path = servers_file(tmp_path / "servers.json", {"one": DEMO})
    hub = new_hub().up("--config", str(path), "--hot-reload")
    await until_tools(hub, lambda names: "one__roll_dice" in names)
    servers_file(path, {"one": DEMO, "two": DEMO})
    await until_tools(hub, lambda names: {"one__roll_dice", "two__roll_dice"} <= names)
    path.write_text('{"mcpServers": {"one": ')
    until("the refusal", lambda: "servers_file_refused" in hub.output)
    assert {"one__roll_dice", "two__roll_dice"} <= await tools(hub)
    servers_file(path, {"two": DEMO})
    await until_tools(hub, lambda names: not any(name.startswith("one__") for name in names))
    assert hub.terminate() == 0


@pytest.mark.requirement("X7", "X15")
async def test_hot_reload_follows_the_persons_file_beside_the_demo(new_hub: NewHub, tmp_path: Path) -> None:
    path = servers_file(tmp_path / "servers.json", {"one": DEMO})
    hub = new_hub().up("--config", str(path), "--hot-reload", "--demo")
    await until_tools(hub, lambda names: {"one__roll_dice", "demo__roll_dice"} <= names)
    servers_file(path, {"two": DEMO})
    await until_tools(hub, lambda names: "two__roll_dice" in names and "one__roll_dice" not in names)
    path.write_text('{"mcpServers": {"two": {"command": "x"}, "two": {"command": "y"}}}')
    until("the refusal", lambda: "“two” stands twice" in hub.output)
    assert {"two__roll_dice", "demo__roll_dice"} <= await tools(hub)


def test_bad_servers_file_names_every_fault_and_nothing_starts(tmp_path: Path) -> None:
    path = servers_file(tmp_path / "servers.json", {"a": {"command": 1}, "b": {"url": "ftp://x"}})
    code, words = refusal("up", "--port", "0", "--config", str(path), folder=tmp_path)
    assert code == 1
    assert "mcpServers.a" in words
    assert "mcpServers.b" in words
    assert "Traceback" not in words


def test_servers_that_would_have_one_slug_are_numbered_and_named(new_hub: NewHub, tmp_path: Path) -> None:
    path = servers_file(tmp_path / "servers.json", {"My Clock": DEMO, "my-clock": DEMO, "admin": DEMO})
    hub = new_hub().up("--config", str(path))
    assert "mcpServers.my-clock: is called “my-clock-2” here" in hub.output
    assert "mcpServers.admin: is called “admin-2” here" in hub.output
    assert "“my-clock” here" not in hub.output


def test_switch_that_is_no_boolean_is_refused_with_its_place(tmp_path: Path) -> None:
    path = servers_file(tmp_path / "servers.json", {"off": {**DEMO, "disabled": "true"}})
    code, words = refusal("up", "--port", "0", "--config", str(path), folder=tmp_path)
    assert code == 1
    assert "mcpServers.off.disabled: must be true or false" in words


def test_key_of_another_org_is_refused_as_the_owners(new_hub: NewHub, tmp_path: Path) -> None:
    hub = new_hub().up()
    hub.manage("create_org", "other")
    theirs = hub.manage_json("create_key", "theirs", "--org", "other", "--role", "owner")["key"]
    assert hub.terminate() == 0
    data = str(hub.folder / "data")
    code, words = refusal("up", "--port", "0", "--api-key", theirs, "--data-dir", data, folder=tmp_path)
    assert code == 1
    assert "in use in another org" in words
    assert "Traceback" not in words


def test_missing_servers_file_is_named_once(tmp_path: Path) -> None:
    code, words = refusal("up", "--port", "0", "--config", "/nowhere.json", folder=tmp_path)
    assert code == 1
    assert words.count("/nowhere.json") == 1


@pytest.mark.parametrize("port", ["65536", "99999", "-1"])
def test_port_that_is_none_is_refused_not_wrapped_round(tmp_path: Path, port: str) -> None:
    code, words = refusal("up", f"--port={port}", folder=tmp_path)
    assert code == 2
    assert "port: " in words


@pytest.mark.requirement("X18")
def test_up_tells_programs_in_one_line_of_json(new_hub: NewHub) -> None:
    hub = new_hub(key="").up("--json")
    found = json.loads(next(line for line in hub.output.splitlines() if line.startswith("{")))
    assert (found["dashboard"], found["mcp"]) == (f"{hub.url}/", hub.mcp_url)
    assert _discover(hub, {"X-API-Key": found["key"]}).status_code == 200


def test_busy_port_is_a_plain_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, words = refusal("up", "--port", str(port), folder=tmp_path)
    assert code == 1
    assert f"Port {port} on 127.0.0.1 is already in use." in words
    assert "Traceback" not in words


@pytest.mark.requirement("S10")
def test_open_mode_needs_no_key_and_says_so(new_hub: NewHub) -> None:
    hub = new_hub().up("--no-auth")
    assert "OPEN MODE" in hub.output
    assert _discover(hub, {}).status_code == 200


@pytest.mark.requirement("S10")
def test_open_mode_off_loopback_is_refused(tmp_path: Path) -> None:
    code, words = refusal("up", "--port", "0", "--host", "0.0.0.0", "--no-auth", folder=tmp_path)
    assert code == 1
    assert "mcphub.E013" in words


@pytest.mark.requirement("X15")
def test_ephemeral_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*MANAGE, "up", "--port", "0", "--ephemeral"], env=environment, stdout=subprocess.PIPE, text=True
    ) as hub:
        assert hub.stdout is not None
        for line in hub.stdout:
            if line.startswith("  MCP "):
                break
        assert list(tmp_path.glob("mcphub-*/mcphub.sqlite3"))
        hub.send_signal(signal.SIGINT)
        assert hub.wait(30) == 0
    assert not list(tmp_path.glob("mcphub-*"))
    assert not (tmp_path / ".local").exists()


@pytest.mark.requirement("X15")
def test_ephemeral_start_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    code, _ = refusal("up", "--port", "0", "--ephemeral", "--config", "/nowhere.json", folder=tmp_path)
    assert code == 1
    assert not list(tmp_path.glob("mcphub-*"))


def test_prefix_stands_before_everything_but_health(new_hub: NewHub) -> None:
    hub = new_hub().up("--path-prefix", "/tools")
    key = {"Authorization": f"Bearer {hub.key}"}
    assert f"MCP        {hub.url}/tools/mcp" in hub.output
    assert _discover(hub, key, f"{hub.url}/tools/mcp").status_code == 200
    assert _discover(hub, key).status_code == 404
    assert httpx.get(f"{hub.url}/live").json() == {"status": "ok"}
    for page in ("/tools/", "/tools/admin/"):
        first = httpx.get(f"{hub.url}{page}")
        assert first.headers["location"].startswith("/tools/")
        assert first.headers["location"].endswith(f"?next={page}")


def test_person_behind_a_prefix_signs_in_and_comes_back_to_the_page(new_hub: NewHub) -> None:
    hub = new_hub().up("--root-path", "/outside", "--path-prefix", "/tools")
    with httpx.Client(base_url=hub.url, headers={"Origin": hub.url}) as browser:
        page = "/outside/tools/admin/upstreams/upstream/"
        where = browser.get(page.removeprefix("/outside")).headers["location"]
        while "/sign-in/" not in where:
            where = browser.get(where.removeprefix("/outside")).headers["location"]
        where = where.removeprefix("/outside")
        assert browser.get(where).status_code == 200
        form = {"way": "dev", "email": "a@example.org", "next": page}
        answer = browser.post(where, data=form, headers={"X-CSRFToken": browser.cookies["mcphub_csrf"]})
        assert answer.headers["location"] == page
        assert browser.get(page.removeprefix("/outside")).status_code == 200
        assert browser.get("/tools/static/mcphub.css").status_code == 200


@pytest.mark.requirement("X12", "S1")
def test_path_of_the_public_address_stands_in_everything_that_clients_are_told(new_hub: NewHub) -> None:
    hub = new_hub(server_url="http://hub.example/outside/").up()
    as_named = {"host": "hub.example"}
    refused = httpx.post(hub.mcp_url, json={}, headers=as_named)
    metadata = "http://hub.example/.well-known/oauth-protected-resource/outside/mcp"
    assert f'resource_metadata="{metadata}"' in refused.headers["www-authenticate"]
    resource = httpx.get(f"{hub.url}{urlsplit(metadata).path}", headers=as_named).json()
    assert resource["resource"] == "http://hub.example/outside/mcp"
    (issuer,) = resource["authorization_servers"]
    assert issuer == "http://hub.example/outside"
    server = httpx.get(f"{hub.url}/.well-known/oauth-authorization-server/outside", headers=as_named).json()
    assert server["issuer"] == issuer
    assert server["token_endpoint"].startswith(f"{issuer}/")
    assert httpx.get(f"{hub.url}/", headers=as_named).headers["location"].startswith("/outside/sign-in/")


@pytest.mark.requirement("X12")
def test_pages_are_for_known_hosts_and_strangers_forward_nothing(new_hub: NewHub) -> None:
    hub = new_hub().up()
    assert httpx.get(f"{hub.url}/sign-in/", headers={"host": "evil.example"}).status_code == 421
    assert httpx.get(f"{hub.url}/sign-in/", headers={"origin": "https://evil.example"}).status_code == 403
    assert httpx.get(f"{hub.url}/sign-in/").status_code == 200


def test_missing_encryption_key_is_refused_by_its_id(new_hub: NewHub, tmp_path: Path) -> None:
    path = servers_file(tmp_path / "servers.json", {"one": {"url": "http://127.0.0.1:9/", "headers": {"X-A": "b"}}})
    hub = new_hub().up("--config", str(path))
    assert hub.terminate() == 0
    secrets = hub.folder / "data" / "secrets" / "encryption_key"
    lost = secrets.read_text()
    secrets.write_text("Wm4tB8nQ2kVx7zLp5cYr9dJh3gSf6aEu1oTi")
    data = str(hub.folder / "data")
    code, words = refusal("up", "--port", "0", "--data-dir", data, folder=tmp_path)
    assert code == 1
    assert re.search(r"The encryption key with id [0-9a-f]{8} is missing", words)
    code, _ = refusal("doctor", folder=tmp_path, data_dir=data)
    assert code == 1
    secrets.write_text(lost)
    assert hub.restart().terminate() == 0


def test_doctor_tells_what_keeps_an_upstream_down(new_hub: NewHub, tmp_path: Path) -> None:
    path = servers_file(tmp_path / "servers.json", {"gone": {"command": "no-such-command-anywhere"}})
    hub = new_hub().up("--config", str(path))
    report = hub.manage_json("doctor", fails=1)
    found = {item["about"]: item for item in report["findings"]}
    assert "no-such-command-anywhere" in found["upstream default/gone"]["text"]
    assert {item["name"]: item["origin"] for item in report["settings"]}["MCPHUB_DATA_DIR"] == "MCPHUB_DATA_DIR"
    assert hub.key not in json.dumps(report)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--hot-reload",),
        ("--header", '{"A": "b"}'),
        ("--server-type", "sse", "--", "command"),
        ("--env", "A=b", "--", "http://127.0.0.1/"),
        ("--header", "nonsense", "--", "http://127.0.0.1/"),
        ("--set", "nonsense"),
        ("--ssl-certfile", "/nowhere"),
    ],
)
def test_flags_that_do_not_go_together_are_usage_faults(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, words = refusal("up", "--port", "0", *arguments, folder=tmp_path)
    assert code == 2
    assert "Traceback" not in words


@pytest.mark.requirement("X14")
def test_off_loopback_the_first_person_becomes_owner_by_a_link(new_hub: NewHub) -> None:
    hub = new_hub(host="0.0.0.0").up()
    found = re.search(r"Become the owner .*: (http\S+)", hub.output)
    assert found is not None
    assert httpx.get(found[1], follow_redirects=True).status_code == 200
    assert "picker" not in httpx.get(f"{hub.url}/sign-in/").text


def test_tls_from_files(new_hub: NewHub, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    hub = new_hub().up("--ssl-certfile", str(cert), "--ssl-keyfile", str(key), wait=False)
    until("readiness", lambda: "is ready" in hub.output, within=30)
    url = f"https://127.0.0.1:{hub.port}"
    assert f"MCP        {url}/mcp" in hub.output
    with httpx.Client(verify=ssl.create_default_context(cafile=str(cert))) as client:
        cookies = client.get(f"{url}/sign-in/").headers.get_list("set-cookie")
    assert cookies
    assert all(cookie.startswith("__Host-") and "Secure" in cookie for cookie in cookies)


@pytest.mark.parametrize("wrong", ["certificate", "key", "pair"])
def test_tls_files_that_do_not_fit_are_a_sentence(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "other").mkdir()
    cert, key = self_signed(tmp_path)
    if wrong == "pair":
        _, key = self_signed(tmp_path / "other")
    else:
        (cert if wrong == "certificate" else key).write_text("nonsense")
    code, words = refusal(
        "up", "--port", "0", "--ssl-certfile", str(cert), "--ssl-keyfile", str(key), folder=tmp_path
    )
    assert code == 1
    assert "TLS cannot be served with" in words
    assert "Traceback" not in words


def test_cloud_mode_has_other_commands(tmp_path: Path) -> None:
    code, words = refusal("up", "--port", "0", folder=tmp_path, mode="cloud")
    assert code in (1, 2)
    assert "Traceback" not in words
