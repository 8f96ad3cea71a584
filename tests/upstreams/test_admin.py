import html
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from audit.models import AuditEvent, AuditPayload
from mcphub.accounts.models import Org
from mcphub.core.ids import new_uuid
from tests.upstreams.conftest import MakeUpstream, SignIn, tool
from upstreams.formfields import MASK
from upstreams.models import Definition, Upstream
from upstreams.selectors import due, org_catalogue
from upstreams.services import record_state, store_catalogue

LIST = "admin:upstreams_upstream_changelist"
CHANGE = "admin:upstreams_upstream_change"
ADD = "admin:upstreams_upstream_add"
IMPORT = "admin:upstreams_upstream_import_servers"


def fields(org: Org, **changes: Any) -> dict[str, Any]:
    """The upstream form as a browser sends it."""
    return {
        "org": str(org.pk),
        "name": "Time",
        "slug": "time",
        "enabled": "on",
        "transport": "http",
        "url": "https://1.1.1.1/mcp",
        "command": "",
        "args": "",
        "secret_headers": "",
        "secret_env": "",
        "secret_variables": "",
        "sharing": "",
        "payload_mode": "",
        "idempotent": "",
        "egress_allow": "",
        **changes,
    }


def faults(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


@pytest.mark.requirement("U5")
def test_operator_adds_an_upstream_and_its_secrets_are_never_shown(org: Org, operator: Client) -> None:
    sent = fields(
        org,
        secret_headers="Authorization: Bearer ${TOKEN}\nX-Plain: canary-one",
        secret_variables="TOKEN=canary-two",
    )
    assert operator.post(reverse(ADD), sent).status_code == 302
    row = Upstream.objects.get()
    assert row.headers == {"Authorization": "Bearer ${TOKEN}", "X-Plain": "canary-one"}
    for page in (
        reverse(CHANGE, args=[row.pk]),
        reverse(LIST),
        reverse("admin:upstreams_upstream_history", args=[row.pk]),
    ):
        shown = operator.get(page).content.decode()
        assert "canary" not in shown
    assert f"X-Plain: {MASK}" in operator.get(reverse(CHANGE, args=[row.pk])).content.decode()
    assert "canary" not in "".join(str(vars(item)) for item in AuditPayload.objects.all())


@pytest.mark.requirement("U5")
def test_secret_in_the_arguments_is_refused_with_the_place_where_it_may_stand(org: Org, operator: Client) -> None:
    sent = fields(org, transport="stdio", command="sh", args="--key=${API_KEY}", secret_variables="API_KEY=canary")
    fault = faults(operator.post(reverse(ADD), sent))["args"][0]
    assert "environment" in fault
    assert "canary" not in fault
    sent |= {"args": "-c\nrun", "secret_env": "API_KEY=${API_KEY}"}
    assert operator.post(reverse(ADD), sent).status_code == 302


@pytest.mark.requirement("U5")
def test_masked_values_survive_a_save_and_new_ones_replace_them(
    org: Org, operator: Client, make_upstream: MakeUpstream
) -> None:
    row = make_upstream(url="https://1.1.1.1/mcp", headers={"A": "1", "B": "2", "C": "3"}, oauth={"client_id": "x"})
    page = reverse(CHANGE, args=[row.pk])
    sent = fields(org, secret_headers=f"A: {MASK}\nB: new", oauth_client_id="x")
    assert operator.post(page, sent).status_code == 302
    changed = Upstream.objects.get()
    assert changed.headers == {"A": "1", "B": "new"}
    assert changed.oauth == {"client_id": "x"}
    assert changed.revision == 2
    answer = operator.post(page, fields(org, secret_headers=f"D: {MASK}"))
    assert "none is stored" in faults(answer)["secret_headers"][0]


def test_secrets_that_cannot_be_opened_are_named_and_can_be_replaced(
    org: Org, operator: Client, make_upstream: MakeUpstream
) -> None:
    row = make_upstream(name="Time", headers={"A": "1"})
    make_upstream("other", headers={"B": "2"})
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE upstreams_upstream SET headers = (SELECT headers FROM upstreams_upstream WHERE slug = 'other')"
        )
    page = reverse(CHANGE, args=[row.pk])
    assert "cannot be opened" in operator.get(page).content.decode()
    assert operator.get(reverse(LIST)).status_code == 200
    assert operator.post(page, fields(org, secret_headers="A: 3")).status_code == 302
    assert Upstream.objects.get(pk=row.pk).headers == {"A": "3"}


@pytest.mark.requirement("A4")
def test_a_changed_secret_is_on_record_without_its_value(
    org: Org, operator: Client, make_upstream: MakeUpstream
) -> None:
    row = make_upstream(url="https://1.1.1.1/mcp", name="Time", headers={"A": "canary-old"})
    operator.post(reverse(CHANGE, args=[row.pk]), fields(org, secret_headers="A: canary-new"))
    act = AuditEvent.objects.get(method="upstream.change")
    kept = "".join(str(vars(item)) for item in AuditPayload.objects.all())
    assert act.name == "time"
    assert "headers" in kept
    assert "canary" not in kept


BAD_FORMS: list[tuple[dict[str, str], str, str]] = [
    ({"slug": "mcp"}, "slug", "own addresses"),
    ({"slug": "A_b"}, "slug", "lower-case"),
    ({"slug": "taken"}, "slug", "“taken-2” is free"),
    ({"url": ""}, "url", "Needed"),
    ({"url": "ftp://1.1.1.1/"}, "url", "http://"),
    ({"url": "https://user:pw@1.1.1.1/"}, "url", "header"),
    ({"url": "https://${HOST}/"}, "url", "${HOST} is not defined"),
    ({"url": "http://127.0.0.1:9/mcp"}, "url", "127.0.0.1, which is not a public"),
    ({"url": "http://169.254.169.254/"}, "url", "never opened"),
    ({"secret_headers": "Authorization Bearer"}, "secret_headers", "Name: value"),
    ({"secret_headers": "Bad Name: x"}, "secret_headers", "not a usable name"),
    ({"secret_headers": 'A: "b\\r\\nc: d"'}, "secret_headers", "control characters"),
    ({"secret_headers": "A: 1\nA: 2"}, "secret_headers", "twice"),
    ({"secret_headers": "A: ${X}"}, "secret_headers", "${X} is not defined"),
    ({"secret_variables": "1X=1"}, "secret_variables", "not a usable name"),
    ({"transport": "stdio", "command": ""}, "command", "Needed"),
    ({"transport": "stdio", "command": "no-such-command"}, "command", "not installed"),
    ({"transport": "stdio", "command": "sh", "args": "${X}"}, "args", "${X} is not defined"),
    ({"transport": "stdio", "command": "sh", "args": '"open'}, "args", "JSON string"),
    ({"call_s": "0"}, "call_s", "more than 0"),
    ({"heartbeat_s": "-1"}, "heartbeat_s", "negative"),
]


@pytest.mark.requirement("D12")
def test_stored_secrets_do_not_go_to_another_place(operator: Client, org: Org, make_upstream: MakeUpstream) -> None:
    """Who may not read them could send them to a server of their own."""
    row = make_upstream(slug="time", url="https://1.1.1.1/mcp", headers={"A": "canary"})
    page = reverse(CHANGE, args=[row.pk])
    for url in ("https://9.9.9.9/mcp", "https://1.1.1.1:8443/mcp", "http://1.1.1.1/mcp"):
        answer = operator.post(page, fields(org, url=url, secret_headers=f"A: {MASK}"))
        assert "again" in faults(answer)["secret_headers"][0]
    row.refresh_from_db()
    assert row.url == "https://1.1.1.1/mcp"
    moved = fields(org, url="https://1.1.1.1/other", secret_headers=f"A: {MASK}")
    assert operator.post(page, moved).status_code == 302
    entered = fields(org, url="https://9.9.9.9/mcp", secret_headers="A: canary")
    assert operator.post(page, entered).status_code == 302


@pytest.mark.parametrize(("changes", "field", "words"), BAD_FORMS)
def test_what_is_wrong_is_said_before_saving(
    org: Org, operator: Client, make_upstream: MakeUpstream, changes: dict[str, str], field: str, words: str
) -> None:
    make_upstream("taken")
    answer = operator.post(reverse(ADD), fields(org, **changes))
    assert words in " ".join(faults(answer)[field])
    assert Upstream.objects.count() == 1


def test_arguments_survive_the_page_whatever_they_are(
    org: Org, operator: Client, make_upstream: MakeUpstream
) -> None:
    arguments = ["-y", " padded ", "two\nlines", '"quoted"', "", "ünï"]
    row = make_upstream(transport="stdio", url="", command="sh", args=arguments, name="Time")
    page = reverse(CHANGE, args=[row.pk])
    shown = operator.get(page).context["adminform"].form["args"].value()
    operator.post(page, fields(org, transport="stdio", command="sh", args=shown))
    row.refresh_from_db()
    assert (row.args, row.revision) == (arguments, 1)


@pytest.mark.requirement("U21")
def test_hub_admin_allows_a_private_address_in_one_recorded_step(org: Org, sign_in: SignIn) -> None:
    hub_admin = sign_in("owner", hub_admin=True)
    sent = fields(org, url="http://127.0.0.1:9/mcp")
    assert "Tick" in faults(hub_admin.post(reverse(ADD), sent))["url"][0]
    assert hub_admin.post(reverse(ADD), {**sent, "allow_address": "on"}).status_code == 302
    assert Upstream.objects.get().egress_allow == ["127.0.0.1:9"]
    assert AuditEvent.objects.filter(method="upstream.create").exists()


@pytest.mark.requirement("U21")
def test_operator_cannot_open_private_addresses(org: Org, operator: Client) -> None:
    sent = fields(org, url="http://127.0.0.1:9/mcp", allow_address="on", egress_allow="127.0.0.1:9")
    assert "hub admin" in faults(operator.post(reverse(ADD), sent))["url"][0]


def test_nobody_opens_private_addresses_from_the_admin_in_cloud(
    org: Org, sign_in: SignIn, settings: Settings
) -> None:
    settings.HUB = settings.HUB.model_copy(update={"mode": "cloud"})
    sent = fields(org, url="http://127.0.0.1:9/mcp", allow_address="on", egress_allow="127.0.0.1:9")
    answer = sign_in("owner", hub_admin=True).post(reverse(ADD), sent)
    assert "MCPHUB_EGRESS_ALLOW" in faults(answer)["url"][0]


@pytest.mark.requirement("T6")
def test_stranger_cannot_see_or_touch_an_upstream(stranger: Client, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("get_time")]})
    definition = Definition.objects.get()
    unknown = new_uuid()
    for name, key in (("upstream", upstream.pk), ("definition", definition.pk)):
        for page in ("change", "history"):
            url = f"admin:upstreams_{name}_{page}"
            assert stranger.get(reverse(url, args=[key])).status_code == 404
            assert stranger.get(reverse(url, args=[unknown])).status_code == 404
    for key in (upstream.pk, unknown):
        assert stranger.post(reverse("admin:upstreams_upstream_ask", args=[key, "refresh"])).status_code == 404
    assert not due().refresh
    assert "time" not in stranger.get(reverse(LIST)).content.decode().split("result_list")[-1]
    action = {"action": "restart", "_selected_action": [str(upstream.pk)]}
    stranger.post(reverse(LIST), action)
    assert not due().restart


@pytest.mark.requirement("T6")
def test_stranger_cannot_add_to_another_org(org: Org, stranger: Client) -> None:
    assert "org" in faults(stranger.post(reverse(ADD), fields(org)))
    document = json.dumps({"mcpServers": {"a1": {"command": "sh"}}})
    sent = {"org": str(org.pk), "document": document, "chosen": "a1", "confirm": "1"}
    assert stranger.post(reverse(IMPORT), sent).status_code == 200
    assert not Upstream.objects.exists()


@pytest.mark.requirement("T6")
def test_viewer_looks_and_changes_nothing(org: Org, sign_in: SignIn, upstream: Upstream) -> None:
    viewer = sign_in("viewer")
    page = reverse(CHANGE, args=[upstream.pk])
    assert viewer.get(reverse(LIST)).status_code == viewer.get(page).status_code == 200
    assert viewer.post(page, fields(org)).status_code == 403
    assert viewer.get(reverse(ADD)).status_code == 403
    assert viewer.get(reverse(IMPORT)).status_code == 403
    assert viewer.post(reverse("admin:upstreams_upstream_ask", args=[upstream.pk, "restart"])).status_code == 404
    viewer.post(reverse(LIST), {"action": "switch_off", "_selected_action": [str(upstream.pk)]})
    upstream.refresh_from_db()
    assert upstream.enabled


def test_member_without_rights_has_no_admin(sign_in: SignIn, upstream: Upstream) -> None:
    assert sign_in("member").get(reverse(LIST)).status_code in (302, 403)


@pytest.mark.requirement("X7")
def test_rows_of_a_servers_file_are_read_only(org: Org, operator: Client, make_upstream: MakeUpstream) -> None:
    row = make_upstream(source="/etc/servers.json", headers={"A": "canary"})
    page = reverse(CHANGE, args=[row.pk])
    shown = operator.get(page).content.decode()
    assert "/etc/servers.json" in shown
    assert "canary" not in shown
    assert operator.post(page, fields(org)).status_code == 403
    operator.post(reverse(LIST), {"action": "switch_off", "_selected_action": [str(row.pk)]})
    row.refresh_from_db()
    assert row.enabled
    assert operator.post(reverse("admin:upstreams_upstream_ask", args=[row.pk, "restart"])).status_code == 302
    assert due().restart
    gone = operator.post(reverse("admin:upstreams_upstream_delete", args=[row.pk]), {"post": "yes"})
    assert gone.status_code == 302
    assert not Upstream.objects.exists()
    assert AuditEvent.objects.filter(method="upstream.delete", name="time").count() == 1


@pytest.mark.requirement("U17")
def test_list_shows_state_error_and_tools(operator: Client, make_upstream: MakeUpstream) -> None:
    up, down = make_upstream("up"), make_upstream("down")
    make_upstream("fault", url="https://${NOWHERE}/")
    store_catalogue(up.pk, "", {"tool": [tool("a"), tool("b")]})
    record_state(up.pk, "up")
    record_state(down.pk, "down", error="It refused the connection.", stderr_tail="boom\n")
    record_state(make_upstream("resting").pk, "resting", error="5 calls in a row failed.")
    shown = html.unescape(operator.get(reverse(LIST)).content.decode())
    assert "It refused the connection." in shown
    assert "left alone" in shown
    assert "5 calls in a row failed." in shown
    assert "${NOWHERE} is not defined" in shown
    assert "boom" in operator.get(reverse(CHANGE, args=[down.pk])).content.decode()


@pytest.mark.requirement("U10")
def test_actions_switch_and_ask_and_are_on_record(operator: Client, upstream: Upstream) -> None:
    for action in ("refresh", "restart", "switch_off"):
        operator.post(reverse(LIST), {"action": action, "_selected_action": [str(upstream.pk)]})
    upstream.refresh_from_db()
    assert not upstream.enabled
    assert due().refresh
    assert due().restart
    kinds = set(AuditEvent.objects.values_list("method", flat=True))
    assert {"upstream.refresh", "upstream.restart", "upstream.change"} <= kinds


def test_asking_needs_a_post(operator: Client, upstream: Upstream) -> None:
    assert operator.get(reverse("admin:upstreams_upstream_ask", args=[upstream.pk, "restart"])).status_code == 405


@pytest.mark.requirement("U9")
def test_import_page_previews_then_imports_what_was_chosen(
    org: Org, operator: Client, make_upstream: MakeUpstream
) -> None:
    make_upstream("time")
    document = json.dumps(
        {"mcpServers": {"time": {"command": "sh"}, "a1": {"command": "sh", "env": {"K": "${KEY}"}}}}
    )
    sent = {"org": str(org.pk), "document": document, "variables": ""}
    assert "${KEY} is not defined" in html.unescape(operator.post(reverse(IMPORT), sent).content.decode())
    sent["variables"] = "KEY=v"
    preview = operator.post(reverse(IMPORT), sent).content.decode()
    assert "time-2" in preview
    assert Upstream.objects.count() == 1
    done = operator.post(reverse(IMPORT), {**sent, "confirm": "1", "chosen": ["a1"], "slug:a1": "renamed"})
    assert done.status_code == 302
    row = Upstream.objects.get(slug="renamed")
    assert (row.env, row.variables) == ({"K": "${KEY}"}, {"KEY": "v"})


@pytest.mark.requirement("U15")
def test_definition_page_switches_and_overrides(org: Org, operator: Client, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("get_time", description="<b>Now</b>")]})
    row = Definition.objects.get()
    page = reverse("admin:upstreams_definition_change", args=[row.pk])
    shown = operator.get(page).content.decode()
    assert "time__get_time" in shown
    assert "inputSchema" in shown
    assert "<b>Now</b>" not in shown
    assert operator.post(page, {"risk_override": "admin"}).status_code == 302
    (record,) = org_catalogue(org)
    assert (record.enabled, record.risk) == (False, "admin")
    assert AuditEvent.objects.filter(method="definition.change").count() == 1


@pytest.mark.requirement("U15")
def test_definitions_are_switched_in_the_list_and_by_action(org: Org, operator: Client, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("a"), tool("b")]})
    page = reverse("admin:upstreams_definition_changelist")
    assert operator.get(page).status_code == 200
    keys = [str(key) for key in Definition.objects.values_list("pk", flat=True)]
    operator.post(page, {"action": "switch_off", "_selected_action": keys})
    assert [record.enabled for record in org_catalogue(org)] == [False, False]
    for query in ("risk=write", "offered=yes", "offered=no", "risk=read", f"upstream__id__exact={upstream.pk}"):
        assert operator.get(f"{page}?{query}").status_code == 200
