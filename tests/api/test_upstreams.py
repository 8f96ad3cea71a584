"""Upstreams and tools over the REST API: by name, secrets one way only."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from audit.models import AuditEvent, AuditPayload
from mcphub.accounts.models import Org
from tests.api.conftest import Api
from upstreams.models import Definition, Upstream
from upstreams.selectors import due, spec_of
from upstreams.services import record_state, store_catalogue

pytestmark = pytest.mark.requirement("X1", "U5")
UPSTREAM: dict[str, Any] = {
    "url": "https://1.1.1.1/mcp",
    "headers": {"Authorization": "Bearer ${TOKEN}", "X-Key": {"secret": "canary-header"}},
    "variables": {"REGION": "eu", "TOKEN": {"secret": "canary-token"}},
}


@pytest.fixture
def path(org: Org) -> str:
    return f"/orgs/{org.slug}/upstreams"


@pytest.fixture
def operator(by_key: Callable[..., Api]) -> Api:
    return by_key("operator")


def test_put_makes_and_changes_by_name_and_secrets_never_come_out(operator: Api, path: str, org: Org) -> None:
    status, made = operator("PUT", f"{path}/github", UPSTREAM)
    assert status == 201, made
    stored = {"stored": True}
    assert made["config"]["headers"] == {"Authorization": "Bearer ${TOKEN}", "X-Key": stored}
    assert made["config"]["variables"] == {"REGION": "eu", "TOKEN": stored}
    status, again = operator("PUT", f"{path}/github", made["config"])
    assert (status, again["config"]) == (200, made["config"])
    row = Upstream.objects.get()
    assert row.variables == {"REGION": "eu", "TOKEN": "canary-token"}
    assert row.headers["X-Key"] == "canary-header"
    assert spec_of(row).headers["Authorization"] == "Bearer canary-token"
    acts = list(AuditEvent.objects.filter(name="github").values_list("method", flat=True))
    assert acts == ["upstream.create"]
    kept = b"".join(payload.body for payload in AuditPayload.objects.all())
    assert b"canary" not in kept
    assert "canary" not in str(operator("GET", f"{path}/github")) + str(operator("GET", path))


def test_stored_secret_does_not_follow_to_another_address(operator: Api, path: str) -> None:
    _, made = operator("PUT", f"{path}/github", UPSTREAM)
    status, fault = operator("PUT", f"{path}/github", {**made["config"], "url": "https://8.8.8.8/mcp"})
    assert status == 422
    assert "address changed" in str(fault)
    assert Upstream.objects.get().url == "https://1.1.1.1/mcp"


@pytest.mark.requirement("U7")
def test_file_goes_in_and_not_out(operator: Api, path: str) -> None:
    content = base64.b64encode(b"canary-file").decode()
    sent = {
        "transport": "stdio",
        "command": "sh",
        "env": {"K": "${KEY}"},
        "files": {"KEY": {"name": "k", "content": content}},
    }
    status, made = operator("PUT", f"{path}/local", sent)
    assert status == 201, made
    assert made["config"]["files"] == {"KEY": {"stored": True}}
    assert operator("PUT", f"{path}/local", {**made["config"], "env": {"K": "${KEY}"}})[0] == 200
    assert spec_of(Upstream.objects.get()).files["KEY"].content == b"canary-file"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"headers": {"X": {"env": "PATH"}}}, "has no PATH"),
        ({"headers": {"X": {"file": "/etc/passwd"}}}, "write text"),
        ({"files": {"F": {"file": "/etc/passwd"}}}, "base64"),
        ({"headers": {"X": {"stored": True}}}, "nothing is stored"),
        ({"url": "https://1.1.1.1/${NOPE}"}, "not defined"),
        ({"url": "http://127.0.0.1:1/mcp"}, "not a public address"),
        ({"url": "http://169.254.169.254/"}, "not a public address"),
        ({"url": "https://1.1.1.1/?k=ghp_" + "aB3d" * 9}, "GitHub token"),
        ({"forward_headers": ["Cookie"]}, "credential"),
        ({"unknown": 1}, "not known"),
        ({"enabled": "yes"}, "true or false"),
    ],
)
def test_bad_upstream_is_refused_with_the_place(operator: Api, path: str, change: dict[str, Any], words: str) -> None:
    status, fault = operator("PUT", f"{path}/github", {**UPSTREAM, **change})
    assert status == 422
    assert words in str(fault)
    assert not Upstream.objects.exists()


def test_only_a_hub_admin_opens_private_addresses(operator: Api, path: str) -> None:
    sent = {**UPSTREAM, "egress_allow": ["127.0.0.1:1"]}
    assert operator("PUT", f"{path}/github", sent)[0] == 403


def test_start_stop_refresh_logs_and_tools(operator: Api, path: str, org: Org) -> None:
    operator("PUT", f"{path}/github", UPSTREAM)
    row = Upstream.objects.get()
    store_catalogue(row.pk, "", {"tool": [{"name": "a/b", "inputSchema": {"type": "object"}}]})
    record_state(row.pk, "down", error="refused canary-token", stderr_tail="said canary-header")
    assert operator("POST", f"{path}/github/stop")[1]["enabled"] is False
    assert operator("POST", f"{path}/github/start")[1]["enabled"] is True
    for what in ("probe", "refresh", "restart"):
        assert operator("POST", f"{path}/github/{what}")[0] == 202
    assert str(row.pk) in due().refresh
    _, logs = operator("GET", f"{path}/github/logs")
    assert logs == {"last_error": "refused •••", "stderr": "said •••"}
    assert operator("GET", f"{path}/github/tools")[1]["items"][0]["name"] == "a/b"
    status, tool = operator("PATCH", f"{path}/github/tools/a/b", {"enabled": False, "risk": "destructive"})
    assert (status, tool["enabled"], tool["risk"]) == (200, False, "destructive")
    assert Definition.objects.get().risk_override == "destructive"
    assert operator("PATCH", f"{path}/github/tools/none", {"enabled": False})[0] == 404
    assert operator("DELETE", f"{path}/github")[0] == 204
    assert operator("GET", f"{path}/github")[0] == 404


def test_viewer_reads_member_and_stranger_do_not(
    by_key: Callable[..., Api], operator: Api, path: str, other: Org
) -> None:
    operator("PUT", f"{path}/github", UPSTREAM)
    viewer, member = by_key("viewer"), by_key("member")
    assert viewer("GET", f"{path}/github")[0] == 200
    for method, where in (("PUT", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/refresh"), ("GET", "/logs")):
        assert viewer(method, f"{path}/github{where}", UPSTREAM if method == "PUT" else None)[0] == 403
    assert member("GET", f"{path}/github")[0] == 403
    assert operator("GET", f"/orgs/{other.slug}/upstreams")[0] == 404
    assert operator("PUT", f"/orgs/{other.slug}/upstreams/x", UPSTREAM)[0] == 404
