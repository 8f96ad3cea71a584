"""The upstream form: variables, files, pasted keys, and what goes along with calls."""

import base64
import html
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from audit.models import AuditPayload
from mcphub.accounts.models import Org
from tests.upstreams.conftest import MakeUpstream
from tests.upstreams.test_admin import ADD, CHANGE, faults, fields
from tests.upstreams.test_detecting import KEYS
from upstreams.clientheaders import refusal
from upstreams.formfields import MASK
from upstreams.models import Upstream
from upstreams.secretfiles import MAX_BYTES, unpacked
from upstreams.selectors import config_fault, spec_of

KEY = KEYS["GitHub token"]


def command(org: Org, **changes: Any) -> dict[str, Any]:
    return fields(org, transport="stdio", url="", command="sh", **changes)


def page_of(client: Client, row: Upstream) -> str:
    return html.unescape(client.get(reverse(CHANGE, args=[row.pk])).content.decode())


@pytest.mark.requirement("U6")
def test_variables_are_shown_or_hidden_as_their_operator_said(org: Org, operator: Client) -> None:
    sent = fields(
        org,
        url="https://1.1.1.1/${REGION}/mcp",
        plain_variables="REGION=eu",
        secret_headers="X-Key: ${TOKEN}",
        secret_variables="TOKEN=canary",
    )
    assert operator.post(reverse(ADD), sent).status_code == 302
    row = Upstream.objects.get()
    assert row.variables == {"REGION": "eu", "TOKEN": "canary"}
    page = page_of(operator, row)
    assert "REGION=eu" in page
    assert f"TOKEN={MASK}" in page
    assert "canary" not in page
    assert spec_of(row).url == "https://1.1.1.1/eu/mcp"
    again = {**sent, "plain_variables": "REGION=us", "secret_variables": f"TOKEN={MASK}"}
    assert operator.post(reverse(CHANGE, args=[row.pk]), again).status_code == 302
    assert Upstream.objects.get().variables == {"REGION": "us", "TOKEN": "canary"}


@pytest.mark.requirement("U6")
def test_hidden_variable_is_not_shown_by_moving_it(org: Org, operator: Client, make_upstream: MakeUpstream) -> None:
    row = make_upstream(url="https://1.1.1.1/mcp", variables={"TOKEN": "canary"})
    page = reverse(CHANGE, args=[row.pk])
    moved = operator.post(page, fields(org, plain_variables=f"TOKEN={MASK}"))
    assert "Enter the value" in faults(moved)["plain_variables"][0]
    twice = operator.post(page, fields(org, plain_variables="TOKEN=1", secret_variables=f"TOKEN={MASK}"))
    assert "already" in faults(twice)["plain_variables"][0]


@pytest.mark.requirement("U7")
def test_uploaded_file_is_kept_encrypted_and_never_shown(org: Org, operator: Client) -> None:
    content = b'{"private": "canary-in-a-file"}'
    sent = command(org, secret_env="KEY_AT=${KEY_FILE}", file_variable="KEY_FILE")
    sent["file_upload"] = SimpleUploadedFile("../../etc/service key.json", content)
    assert operator.post(reverse(ADD), sent).status_code == 302
    row = Upstream.objects.get()
    assert unpacked(row.files)["KEY_FILE"].content == content
    assert unpacked(row.files)["KEY_FILE"].name == "service_key.json"
    page = page_of(operator, row)
    assert "${KEY_FILE} — service_key.json" in page
    assert "canary" not in page
    assert base64.b64encode(content).decode()[:20] not in page
    assert b"canary" not in b"".join(payload.body for payload in AuditPayload.objects.all())
    assert "canary" not in repr(spec_of(row))
    kept = operator.post(reverse(CHANGE, args=[row.pk]), command(org, secret_env=f"KEY_AT={MASK}"))
    assert kept.status_code == 302
    assert Upstream.objects.get().files is not None
    needed = command(org, secret_env=f"KEY_AT={MASK}", files_removed="KEY_FILE")
    assert "not defined" in faults(operator.post(reverse(CHANGE, args=[row.pk]), needed))["secret_env"][0]
    gone = operator.post(reverse(CHANGE, args=[row.pk]), command(org, files_removed="KEY_FILE"))
    assert gone.status_code == 302
    assert Upstream.objects.get().files is None


@pytest.mark.requirement("U7")
@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"file_upload": b"x" * (MAX_BYTES + 1), "file_variable": "F"}, "file_upload", "larger than 128 KiB"),
        ({"file_upload": b"x", "file_variable": ""}, "file_variable", "Give the file a variable"),
        ({"file_upload": b"x", "file_variable": "A-B"}, "file_variable", "Give the file a variable"),
        ({"file_variable": "F"}, "file_upload", "Choose the file"),
        ({"file_upload": b"x", "file_variable": "F", "plain_variables": "F=1"}, "file_variable", "already"),
    ],
)
def test_file_that_cannot_be_given_is_refused(
    org: Org, operator: Client, changes: dict[str, Any], field: str, words: str
) -> None:
    if isinstance(upload := changes.get("file_upload"), bytes):
        changes = {**changes, "file_upload": SimpleUploadedFile("f", upload)}
    assert words in faults(operator.post(reverse(ADD), command(org, **changes)))[field][0]


def test_exactly_128_kib_fit(org: Org, operator: Client) -> None:
    sent = command(org, file_variable="F", file_upload=SimpleUploadedFile("f", b"x" * MAX_BYTES))
    assert operator.post(reverse(ADD), sent).status_code == 302


@pytest.mark.requirement("U8")
def test_pasted_key_is_noticed_and_moved_when_the_operator_says_so(org: Org, operator: Client) -> None:
    sent = fields(org, url=f"https://1.1.1.1/mcp?k={KEY}", plain_variables="API_KEY=kX9mQ2vLpZ")
    answer = operator.post(reverse(ADD), sent)
    said = faults(answer)["pasted"][0]
    assert "GitHub token" in said
    assert "in API_KEY" in said
    assert KEY not in said
    assert 'type="radio"' in answer.content.decode()
    assert operator.post(reverse(ADD), {**sent, "pasted": "move"}).status_code == 302
    row = Upstream.objects.get()
    assert row.url == "https://1.1.1.1/mcp?k=${GITHUB_TOKEN}"
    assert row.variables == {"GITHUB_TOKEN": KEY, "API_KEY": "kX9mQ2vLpZ"}
    assert row.shown_variables == []
    assert KEY not in page_of(operator, row)


@pytest.mark.requirement("U8")
def test_pasted_key_in_a_command_goes_to_its_environment(org: Org, operator: Client) -> None:
    sent = command(org, args=f"-c\nrun\n--token={KEY}")
    assert "goes to the environment" in faults(operator.post(reverse(ADD), sent))["pasted"][0]
    assert operator.post(reverse(ADD), {**sent, "pasted": "move"}).status_code == 302
    row = Upstream.objects.get()
    assert row.args == ["-c", "run"]
    assert spec_of(row).env == {"GITHUB_TOKEN": KEY}


def test_operator_may_say_that_it_is_no_secret(org: Org, operator: Client) -> None:
    sent = fields(org, url="https://1.1.1.1/x9Kq2LmZ8vBnR4tYpW7cDfGh/mcp", pasted="keep")
    assert operator.post(reverse(ADD), sent).status_code == 302


NEVER = [
    "Authorization", "Cookie", "X-API-Key", "Proxy-Authorization", "Proxy-Connection", "X-Forwarded-For",
    "X-Forwarded-User", "Forwarded", "Via", "X-Real-IP", "Connection", "Keep-Alive", "TE", "Trailer",
    "Transfer-Encoding", "Upgrade", "Host", "Content-Length", "Content-Type", "Accept", "Mcp-Session-Id",
    "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-Region", "X-MCPHub-Caller", "Origin", "Referer",
    "Sec-Fetch-Site", "Remote-User", "X-Auth-Request-Email", "bad name", "",
]  # fmt: skip


@pytest.mark.requirement("U16")
@pytest.mark.parametrize("name", NEVER)
def test_header_that_never_goes_on_cannot_be_listed(name: str) -> None:
    assert refusal(name)


@pytest.mark.requirement("U16")
def test_list_of_headers_is_checked_before_saving(org: Org, operator: Client) -> None:
    answer = operator.post(reverse(ADD), fields(org, forward_headers="X-Tenant\nAuthorization"))
    assert "credential" in faults(answer)["forward_headers"][0]
    assert (
        "headers"
        in faults(operator.post(reverse(ADD), command(org, forward_headers="X-Tenant")))["forward_headers"][0]
    )
    assert "headers" in faults(operator.post(reverse(ADD), command(org, claims="header")))["claims"][0]
    assert operator.post(reverse(ADD), fields(org, forward_headers="X-Tenant\nx-tenant")).status_code == 302
    assert Upstream.objects.get().forward_headers == ["x-tenant"]


def test_file_in_an_address_is_refused(org: Org, operator: Client, make_upstream: MakeUpstream) -> None:
    assert "not defined" in config_fault(
        make_upstream(url="https://1.1.1.1/${F}", files={"F": {"name": "f", "content": ""}})
    )
