"""Promise 5: secrets are planted wherever one can live, the hub is used and abused, and none is in what it puts out.

To extend it: a name in `CANARIES`, planted where such secrets live, or a function in `LOOKS` for what is put out.
"""

import json
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.harness.browser import Browser
from tests.harness.hub import Hub, servers_file
from tests.harness.raw import ERAS, raw_client
from tests.harness.upstreams.dumping import Dumping, dumping
from tests.harness.waiting import until

CANARIES: Final = {
    name: f"cnry{secrets.token_hex(12)}{name.replace('-', '')}"
    for name in (
        "header", "header-variable", "env", "env-variable", "variable", "hidden-variable", "address-variable",
        "oauth-secret", "file", "file-two", "owner-key", "encryption-key", "old-encryption-key", "cookie-key",
        "metrics-token", "google-secret", "github-secret", "oidc-secret", "mail-password", "e2b-key",
        "shared-credential", "personal-credential", "access-token", "refresh-token", "client-secret",
        "person-password", "client-cookie", "wrong-key", "argument", "wrong-password", "pasted-password",
    )
}  # fmt: skip
OWN: Final = {"env", "env-variable", "file", "file-two"}
"""What the one command is given: its process may have these, and only it."""

PLANT: Final = """
import json, sys
from mcphub.accounts.models import Org, User
from mcphub.core.clock import now
from upstreams.models import Credential, OAuthRegistration, Upstream
from upstreams.secretfiles import SecretFile, packed
c = json.load(sys.stdin)
org = Org.objects.get(slug="default")
User.objects.create_user("canary@example.org", c["person-password"])
local, far = Upstream.objects.get(slug="local"), Upstream.objects.get(slug="far")
local.files = {"F1": packed(SecretFile("key.json", json.dumps({"private": c["file"]}).encode())),
               "F2": packed(SecretFile("key.pem", c["file-two"].encode()))}
local.env = {**local.env, "GIVEN_FILE_1": "${F1}", "GIVEN_FILE_2": "${F2}"}
local.save()
far.variables = {**far.variables, "UNUSED": c["hidden-variable"]}
far.save()
Credential.objects.create(upstream=far, secret={"key": c["shared-credential"]}, connected_at=now())
Credential.objects.create(upstream=far, holder="user:1", secret={"key": c["personal-credential"]}, connected_at=now())
tokens = {"access_token": c["access-token"], "refresh_token": c["refresh-token"]}
Credential.objects.create(upstream=far, holder="user:2", secret=tokens, connected_at=now(), problem="expired")
secret = {"client_secret": c["client-secret"]}
OAuthRegistration.objects.create(org=org, domain="example.org", client_id="x", secret=secret)
"""


@dataclass
class Seen:
    """What the hub put out, by place."""

    hub: Hub
    far: Dumping
    browser: Browser
    texts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, text: str) -> None:
        self.texts.append((place, text))

    def leaks(self) -> list[str]:
        """Which canary stands where; of the text itself nothing."""
        return [
            f"{name} in {place}" for place, text in self.texts for name, canary in CANARIES.items() if canary in text
        ]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder, c = tmp_path_factory.mktemp("canaries"), CANARIES
    keys = ",".join(f"{c[name]}Zq8vN2rT5yLw" for name in ("encryption-key", "old-encryption-key"))
    settings = {
        "encryption_keys": keys,
        "secret_key": f"{c['cookie-key']}Wm4tB8nQ2kVx7zLp",
        "metrics_token": c["metrics-token"],
        "email_url": f"smtp://hub:{c['mail-password']}@127.0.0.1:9",
        "e2b_api_key": c["e2b-key"],
    }
    settings |= {f"{kind}_client_secret": c[f"{kind}-secret"] for kind in ("google", "github", "oidc")}
    with dumping("handshake") as far, Hub(folder / "hub", key=c["owner-key"], **settings) as hub:
        variables = {"ADDRESS": c["address-variable"], "TOKEN": c["header-variable"], "OTHER": c["variable"]}
        hub.environment |= {**variables, "GIVEN": c["env-variable"]}
        hub.up("--config", str(servers_file(folder / "servers.json", _servers(far))), wait=False)
        until("the hub's readiness", hub.is_ready, 180)
        hub.until_listed("far", "local")
        _plant(hub)
        far.spilling = True
        with Browser(hub.url) as browser:
            browser.sign_in("owner@example.org")
            yield Seen(hub, far, browser)


def _servers(far: Dumping) -> dict[str, Any]:
    c = CANARIES
    script = Path(__file__).with_name("spilling_stdio.py")
    return {
        "far": {
            "url": f"{far.url}?k=${{ADDRESS}}",
            "headers": {"X-One": c["header"], "X-Two": "Bearer ${TOKEN}", "X-Three": "${OTHER}"},
            "oauth": {"client_id": "x", "client_secret": c["oauth-secret"]},
        },
        "local": {
            "command": sys.executable,
            "args": [str(script)],
            "env": {"GIVEN_ONE": c["env"], "GIVEN_TWO": "${GIVEN}"},
        },
    }


def _plant(hub: Hub) -> None:
    import subprocess

    from tests.harness.hub import MANAGE, ROOT

    done = subprocess.run(
        [*MANAGE, "shell", "-c", PLANT],
        input=json.dumps(CANARIES),
        env=hub.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    until("the command with its files", lambda: len(list((hub.folder / "data" / "lent").glob("*/*/F2"))) > 0, 60)


async def look_at_calls(seen: Seen) -> None:
    hub, cookie = seen.hub, {"Cookie": f"session={CANARIES['client-cookie']}"}
    arguments = {"password": CANARIES["argument"], "nested": {"api_key": CANARIES["argument"]}}
    for era in ERAS:
        async with raw_client(hub.mcp_url, hub.key, era) as client:
            for tool in ("far__dump", "local__spill", "local__spill", "local__spill", "nothing__here"):
                answer = await client.send("tools/call", {"name": tool, "arguments": arguments}, headers=cookie)
                seen.add(f"answer of {tool}", f"{answer.headers}{answer.text}")
            seen.add("list", (await client.send("tools/list", {})).text)
    wrong = {"Authorization": f"Bearer {CANARIES['wrong-key']}"}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for headers in (wrong, {"X-API-Key": CANARIES["wrong-key"]}):
            refused = await http.post(
                hub.mcp_url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=headers
            )
            seen.add("refusal", f"{refused.headers}{refused.text}")


async def look_at_pages(seen: Seen) -> None:
    paths, done = ["/", "/admin/"], set[str]()
    while paths:
        path = paths.pop()
        if path in done or len(done) > 90:
            continue
        done.add(path)
        answer = seen.browser._http.get(path)
        seen.add(f"page {path}", f"{answer.headers}{answer.text}")
        found = re.findall(r'href="(/[^"#?]*)', answer.text)
        paths += [link for link in found if link not in done and not link.startswith(("/static/", "/sign-out"))]
    assert len(done) > 25
    for email in ("canary@example.org", "owner@example.org"):
        form = {"way": "password", "email": email, "password": CANARIES["wrong-password"]}
        seen.add("sign-in", seen.browser._post("/sign-in/", form).text)


async def look_at_the_api(seen: Seen) -> None:
    hub = seen.hub
    async with httpx.AsyncClient(base_url=hub.url, trust_env=False, timeout=60) as http:
        http.headers["Authorization"] = f"Bearer {hub.key}"
        document = (await http.get("/api/v1/openapi.json")).json()
        reads = [path for path, verbs in document["paths"].items() if "get" in verbs]
        for path in reads:
            shown = path.replace("{org}", "default").replace("{name}", "owner").replace("{slug}", "far")
            shown = re.sub(r"\{upstream\}", "far", shown)
            answer = await http.get(re.sub(r"\{[^}]*\}", "x", shown))
            seen.add(f"api {shown}", f"{answer.headers}{answer.text}")
        metrics = await http.get("/metrics", headers={"Authorization": f"Bearer {CANARIES['metrics-token']}"})
        assert metrics.status_code == httpx.codes.OK
        seen.add("metrics", metrics.text)
        for path in ("/ready", "/health", "/healthz", "/live", "/.well-known/mcphub/keys.json", "/api/v1/none"):
            seen.add(path, (await http.get(path)).text)


async def look_at_processes(seen: Seen) -> None:
    family = {seen.hub.process.pid, *seen.hub.children()}
    for pid in family:
        folder = Path(f"/proc/{pid}")
        argv, environment = (folder / "cmdline").read_text(), (folder / "environ").read_text(errors="replace")
        allowed = "--api-key" if pid == seen.hub.process.pid else ""
        seen.add(f"argv of {pid}", "" if allowed in argv and allowed else argv)
        if pid == seen.hub.process.pid or "manage.py" in argv:
            continue
        mine = OWN if "spilling_stdio" in argv else set()
        shown = environment
        for name in mine:
            shown = shown.replace(CANARIES[name], "")
        seen.add(f"environment of {argv[:60]!r}", shown)


async def look_at_commands(seen: Seen) -> None:
    hub = seen.hub
    commands: Sequence[Sequence[str]] = (
        ("doctor", "--json"),
        ("export_config",),
        ("export_audit", "--org", "default"),
        ("verify_audit", "--json"),
        ("rotate_keys", "--json"),
        ("explain", "--principal", "owner@example.org", "--tool", "local__spill", "--json"),
        ("refresh_catalogue",),
    )
    for command in commands:
        seen.add(command[0], _run(hub, command))
    seen.add("a bad start", _run(hub, ("doctor", "--set", f"EMAIL_URL=gopher://{CANARIES['pasted-password']}@x")))


def _run(hub: Hub, command: Sequence[str]) -> str:
    import subprocess

    from tests.harness.hub import MANAGE, ROOT

    done = subprocess.run(
        [*MANAGE, *command], env=hub.environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return done.stdout + done.stderr


async def look_at_what_is_kept(seen: Seen) -> None:
    hub = seen.hub
    seen.add("log", _without_own_key(hub.output))
    kept = b"".join(path.read_bytes() for path in hub.database.parent.glob(f"{hub.database.name}*"))
    seen.add("database", kept.decode("latin-1"))
    hub.kill()
    until("the lent files gone", lambda: not list((hub.folder / "data" / "lent").glob("*/*/F2")), 20)
    for path in (hub.folder / "data").rglob("*"):
        if path.is_file() and "secret" not in path.name and not path.name.startswith(hub.database.name):
            seen.add(f"file {path.name}", path.read_text(errors="replace"))
    hub.restart()
    seen.add("log after a restart", _without_own_key(hub.output))


def _without_own_key(output: str) -> str:
    """`up` prints the key that it was given, for the client's configuration: that is what it is asked for."""
    return output.replace(CANARIES["owner-key"], "")


pytestmark = pytest.mark.timeout(400)

LOOKS: Final[Sequence[Callable[[Seen], Any]]] = (
    look_at_calls,
    look_at_pages,
    look_at_the_api,
    look_at_processes,
    look_at_commands,
    look_at_what_is_kept,
)


@pytest.mark.requirement("U5", "U7", "C8")
@pytest.mark.parametrize("look", LOOKS)
async def test_nothing_that_the_hub_puts_out_holds_a_secret(seen: Seen, look: Callable[[Seen], Any]) -> None:
    assert len(CANARIES) >= 30
    before = len(seen.texts)
    await look(seen)
    assert len(seen.texts) > before
    assert not seen.leaks()


def test_the_secrets_were_really_in_use(seen: Seen) -> None:
    """A canary that nobody carried would prove nothing."""
    sent = json.dumps(seen.far.seen)
    for name in ("header", "header-variable", "variable"):
        assert CANARIES[name] in sent
