"""`export_config` and `apply_config`: out and in, all or nothing, with policy tests that stop it."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from audit.models import AuditEvent, AuditPayload
from mcphub.accounts import services
from mcphub.accounts.models import Membership, Org, OrgQuota, User
from policies.models import Grant, Role, Rule
from upstreams.models import Definition, Upstream
from upstreams.services import store_catalogue

pytestmark = pytest.mark.requirement("X7")
KEY_FILE = b'{"private": "canary-file"}'


@pytest.fixture
def acme(db: None) -> Org:
    return services.create_org("acme", "Acme")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "key.json").write_bytes(KEY_FILE)
    monkeypatch.setenv("CANARY_TOKEN", "canary-token")
    return tmp_path


WHOLE: dict[str, Any] = {
    "settings": {"org": {"name": "Acme & Co", "definition_changes": "warn"}},
    "roles": {"triage": {"rights": ["view_config"]}, "member": {"auto_grant": "read-only"}},
    "upstreams": {
        "github": {
            "name": "GitHub",
            "url": "https://1.1.1.1/${REGION}/mcp",
            "headers": {"Authorization": "Bearer ${TOKEN}"},
            "variables": {"REGION": "eu", "TOKEN": {"env": "CANARY_TOKEN"}},
            "forward_headers": ["x-tenant"],
            "claims": "header",
            "call_s": 30.0,
        },
        "local": {
            "transport": "stdio",
            "command": "sh",
            "args": ["-c", "run"],
            "env": {"KEY_AT": "${KEY}"},
            "files": {"KEY": {"file": "key.json"}},
            "enabled": False,
        },
    },
    "definitions": {"github/tool/delete_repo": {"risk_override": "destructive"}},
    "grants": {"triage/github": {"access": "custom", "tools": {"tool": {"list_issues": True}}}},
    "rules": {"no-deletes": {"priority": 1, "effect": "deny", "risks": ["destructive"], "reason": "never"}},
    "issuers": {"ci": {"issuer": "https://ci.example.org", "audiences": ["hub"], "roles": ["triage"]}},
    "attribute_mappings": {"engineers": {"claim": "groups", "values": ["engineering"], "roles": ["triage"]}},
    "toolsets": {"issues": {"name": "Issues only", "tools": ["github__*_issues"], "search": True}},
    "rate_limits": {"slowly": {"per": "tool", "calls": 100, "upstreams": ["github"]}},
    "approvals": {"calls": {"own_calls": True}},
    "tests": [
        {"tool": "github/delete_repo", "roles": ["triage"], "expect": "deny", "rule": "no-deletes"},
        {"tool": "github/list_issues", "roles": ["triage"], "risk": "read", "expect": "allow"},
        {"tool": "github/other", "roles": ["triage"], "risk": "read", "expect": "deny"},
        {"tool": "github/other", "roles": ["member"], "risk": "read", "expect": "allow"},
    ],
}


def without(*names: str, **changes: Any) -> dict[str, Any]:
    return {name: part for name, part in {**WHOLE, **changes}.items() if name not in names}


def write(folder: Path, parts: Any, **more: Any) -> Path:
    path = folder / "hub.yaml"
    path.write_text(json.dumps({"version": 1, "orgs": {"acme": parts}, **more}))  # JSON is YAML, without aliases
    return path


def run(path: Path, *flags: str) -> dict[str, Any]:
    out = StringIO()
    call_command("apply_config", str(path), "--json", *flags, stdout=out)
    return dict(json.loads(out.getvalue()))


def refused(path: Path, *flags: str) -> str:
    err = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("apply_config", str(path), *flags, stderr=err)
    return err.getvalue() + str(caught.value)


def exported() -> dict[str, Any]:
    out = StringIO()
    call_command("export_config", stdout=out)
    assert "canary" not in out.getvalue()
    return dict(yaml.safe_load(out.getvalue()))


def test_file_makes_the_org_what_it_says_and_again_changes_nothing(acme: Org, folder: Path) -> None:
    path = write(folder, WHOLE)
    done = run(path)
    assert {(change["verb"], f"{change['section']}/{change['key']}") for change in done["changes"]} == {
        ("change", "settings/org"),
        ("create", "roles/triage"),
        ("change", "roles/member"),
        ("create", "upstreams/github"),
        ("create", "upstreams/local"),
        ("create", "definitions/github/tool/delete_repo"),
        ("create", "grants/triage/github"),
        ("create", "rules/no-deletes"),
        ("create", "issuers/ci"),
        ("create", "attribute_mappings/engineers"),
        ("create", "toolsets/issues"),
        ("create", "approvals/calls"),
        ("create", "rate_limits/slowly"),
    }
    row = Upstream.objects.get(slug="github")
    assert row.variables == {"REGION": "eu", "TOKEN": "canary-token"}
    assert row.shown_variables == ["REGION"]
    assert Grant.objects.get().tools == {"tool": {"list_issues": True}}
    assert Definition.objects.get().risk_override == "destructive"
    acts = list(AuditEvent.objects.filter(principal="apply_config hub.yaml").values_list("method", flat=True))
    assert len(acts) == len(done["changes"])
    assert b"canary" not in b"".join(payload.body for payload in AuditPayload.objects.all())
    assert run(path)["changes"] == []
    assert AuditEvent.objects.filter(principal="apply_config hub.yaml").count() == len(acts)


def test_export_goes_in_again_without_a_change(acme: Org, folder: Path) -> None:
    run(write(folder, WHOLE))
    document = exported()
    github = document["orgs"]["acme"]["upstreams"]["github"]
    assert github["variables"] == {"REGION": "eu", "TOKEN": {"stored": True}}
    assert github["headers"] == {"Authorization": "Bearer ${TOKEN}"}
    assert document["orgs"]["acme"]["upstreams"]["local"]["files"] == {"KEY": {"stored": True}}
    again = folder / "again.yaml"
    again.write_text(yaml.safe_dump(document))
    assert run(again)["changes"] == []
    assert Upstream.objects.get(slug="github").variables["TOKEN"] == "canary-token"
    assert exported() == document


def test_dry_run_shows_the_same_and_changes_nothing(acme: Org, folder: Path) -> None:
    path = write(folder, WHOLE)
    before = exported()
    planned = run(path, "--dry-run")["changes"]
    assert exported() == before
    assert not AuditEvent.objects.filter(principal="apply_config hub.yaml").exists()
    assert len(run(path)["changes"]) == len(planned)


def test_what_the_file_leaves_out_goes_when_it_came_from_it_and_stays_when_people_made_it(
    acme: Org, folder: Path
) -> None:
    Rule.objects.create(org=acme, name="ours", effect="deny", priority=5, upstreams=["nothing"])
    run(write(folder, WHOLE))
    local = {"local": WHOLE["upstreams"]["local"]}
    smaller = without(
        "definitions", "grants", "tests", "rules", "attribute_mappings", "toolsets", "rate_limits", upstreams=local
    )
    smaller["issuers"] = {"ci": {**WHOLE["issuers"]["ci"], "roles": []}}
    smaller["roles"] = {}
    gone = run(write(folder, smaller))["changes"]
    assert {change["key"] for change in gone if change["verb"] == "delete"} == {
        *("triage", "github", "triage/github", "no-deletes", "engineers", "issues", "slowly"),
    }
    assert [change["key"] for change in gone if change["verb"] != "delete"] == ["ci"]
    assert list(Rule.objects.values_list("name", flat=True)) == ["ours"]
    assert Role.objects.filter(builtin=True).count() == 4


def test_a_mapping_of_the_file_holds_at_once_and_ends_with_its_line(acme: Org, folder: Path) -> None:
    user = User.objects.create_user("ann@example.org")
    member = services.add_member(acme, user, ["member"])
    Membership.objects.filter(pk=member.pk).update(claims={"groups": ["engineering"]})
    run(write(folder, WHOLE))
    assert "triage" in Membership.objects.get(pk=member.pk).held_roles
    run(write(folder, without("attribute_mappings", "tests")))
    assert "triage" not in Membership.objects.get(pk=member.pk).held_roles


def test_role_that_somebody_holds_is_not_removed(acme: Org, folder: Path) -> None:
    run(write(folder, WHOLE))
    user = User.objects.create_user("ann@example.org")
    services.add_member(acme, user, ["triage"])
    said = refused(write(folder, without("roles", "grants", "tests", "issuers", "attribute_mappings")))
    assert "held by 1 members" in said
    assert Role.objects.filter(name="triage").exists()


def test_rows_of_a_file_are_read_only_in_the_admin(acme: Org, folder: Path, client: Client) -> None:
    run(write(folder, WHOLE))
    user = User.objects.create_user("owner@example.org")
    Membership.objects.create(org=acme, user=user, roles=["owner"])
    client.force_login(user)
    rule = Rule.objects.get()
    page = client.get(reverse("admin:policies_rule_change", args=[rule.pk])).content.decode()
    assert 'name="_save"' not in page
    answer = client.post(reverse("admin:policies_rule_change", args=[rule.pk]), {"name": "x", "effect": "allow"})
    assert answer.status_code == 403
    row = Upstream.objects.get(slug="github")
    page = client.get(reverse("admin:upstreams_upstream_change", args=[row.pk])).content.decode()
    assert str(folder / "hub.yaml") in page
    client.post(
        reverse("admin:upstreams_upstream_changelist"), {"action": "switch_off", "_selected_action": [str(row.pk)]}
    )
    assert Upstream.objects.get(slug="github").enabled
    assert client.post(reverse("admin:upstreams_upstream_ask", args=[row.pk, "refresh"])).status_code == 302
    run(write(folder, WHOLE), "--editable")


@pytest.mark.requirement("O9")
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"tool": "github/delete_repo", "roles": ["owner"], "expect": "allow"}, "rule “no-deletes” says deny: never"),
        ({"tool": "github/x", "roles": ["triage"], "risk": "read", "expect": "allow"}, "the default says deny"),
        ({"tool": "github/x", "roles": ["member"], "risk": "read", "expect": "allow", "rule": "other"}, "to decide"),
        ({"tool": "github/unseen", "expect": "deny"}, "nobody has seen"),
        ({"tool": "nowhere/x", "risk": "read", "expect": "deny"}, "nobody has seen"),
        ({"tool": "github/x", "principal": "no@example.org", "risk": "read", "expect": "deny"}, "no member"),
        ({"tool": "github/x", "expect": "maybe"}, "tests.0.expect"),
        ({"tool": "github/x", "expect": "deny", "roel": []}, "tests.0.roel"),
    ],
)
def test_policy_test_that_fails_stops_everything_and_names_the_rule(
    acme: Org, folder: Path, case: dict[str, Any], words: str
) -> None:
    before = exported()
    assert words in refused(write(folder, {**WHOLE, "tests": [case]}))
    assert exported() == before


def test_policy_tests_see_conditions_and_what_was_discovered(acme: Org, folder: Path) -> None:
    rules = {
        "own-region": {
            "priority": 1,
            "effect": "allow",
            "condition": "arguments.region == principal.attributes.region",
        }
    }
    run(write(folder, without("tests")))
    row = Upstream.objects.get(slug="github")
    store_catalogue(row.pk, "", {"tool": [{"name": "deploy", "inputSchema": {"type": "object"}}]})
    where = {"tool": "github__deploy", "attributes": {"region": "eu"}}
    cases = [
        {**where, "arguments": {"region": "eu"}, "expect": "allow", "rule": "own-region"},
        {**where, "arguments": {"region": "us"}, "expect": "deny"},
        {**where, "expect": "deny"},
    ]
    run(write(folder, {**without("definitions", "grants"), "rules": rules, "tests": cases}))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"upstreams": {"A": {"url": "https://1.1.1.1"}}}, "orgs.acme.upstreams.A"),
    ({"upstreams": {"a": {"url": "ftp://x"}}}, "orgs.acme.upstreams"),
    ({"upstreams": {"ab": {}}}, "needs “command”"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1/${X}"}}}, "${X} is not defined"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "hedaers": {}}}}, "ab.hedaers: is not known"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "headers": {"X": {"stored": True}}}}}, "nothing is stored"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "headers": {"X": {"env": "NOT_THERE"}}}}}, "has no NOT_THERE"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "headers": {"X": {"env": "MCPHUB_DATA_DIR"}}}}}, "has no"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "headers": {"X": {"file": "none"}}}}}, "No such file"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "forward_headers": ["Cookie"]}}}, "credential"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "egress_allow": ["a/b"]}}}, "egress_allow"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1/?k=ghp_" + "aB3d" * 9}}}, "GitHub token"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "enabled": "yes"}}}, "ab.enabled: must be true or false"),
    ({"upstreams": {"ab": {"url": "https://1.1.1.1", "transport": "smoke"}}}, "ab.transport"),
    ({"rules": {"r": {"effect": "perhaps"}}}, "orgs.acme.rules.r.effect"),
    ({"rules": {"r": {"effect": "deny", "priority": "first"}}}, "orgs.acme.rules.r.priority"),
    ({"rules": {"r": {"effect": "deny", "condition": "arguments."}}}, "orgs.acme.rules.r.condition"),
    ({"rules": {"r": {"effect": "deny", "tools": "x"}}}, "rules.r.tools: must be a list"),
    ({"rules": ["r"]}, "orgs.acme.rules: must be a mapping"),
    ({"rules": {"r": "deny"}}, "orgs.acme.rules.r: must be a mapping"),
    ({"grants": {"nobody/nothing": {"access": "all"}}}, "grants.nobody/nothing"),
    ({"roles": {"owner": {"rights": []}}}, "roles.owner.rights"),
    ({"roles": {"x": {"rights": ["fly"]}}}, "roles"),
    ({"settings": {"other": {}}}, "settings.other"),
    ({"definitions": {"ab/tool": {}}}, "UPSTREAM/KIND/NAME"),
    ({"definitons": {}}, "orgs.acme.definitons"),
    ({"tests": {}}, "orgs.acme.tests"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "words"), BAD)
def test_anything_wrong_is_named_with_its_place_and_nothing_changes(
    acme: Org, folder: Path, parts: dict[str, Any], words: str
) -> None:
    before = exported()
    good = {"rules": {"good": {"effect": "deny"}}} if "rules" not in parts else {"roles": {"good": {}}}
    assert words in refused(write(folder, {**good, **parts}))
    assert exported() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("orgs: {a: &x {}, b: *x}\nversion: 1", "aliases"),
        ("orgs: {a: {}, a: {}}\nversion: 1", "stands twice"),
        ("orgs: {1: {}}\nversion: 1", "in quotes"),
        ("orgs: {", "line 1"),
        ("version: 2\norgs: {}", "version 2"),
        ("[]", "mapping"),
        ("version: 1\norgs: {}\nmore: 1", "more"),
        ("version: 1\norgs: {a: !!python/object/apply:os.getpid []}", "line 2"),
    ],
)
def test_file_that_is_no_document_is_refused(db: None, folder: Path, text: str, words: str) -> None:
    path = folder / "bad.yaml"
    path.write_text(text)
    assert words in refused(path)


def test_new_orgs_are_made_and_others_left_alone(acme: Org, folder: Path) -> None:
    path = folder / "hub.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "orgs": {"other": {"rules": {"r": {"effect": "deny"}}}}}))
    run(path)
    assert Org.objects.filter(slug="other").exists()
    assert Role.objects.filter(org__slug="other", builtin=True).count() == 4
    assert not Rule.objects.for_org(acme).exists()


def test_a_quota_holds_for_files_and_the_api_too(acme: Org, folder: Path, client: Client) -> None:
    OrgQuota.objects.create(org=acme, upstreams=1)
    assert "acme may have 1 upstream and has 1" in refused(write(folder, without("tests")))
    assert not Upstream.objects.exists()
    run(write(folder, {"upstreams": {"local": WHOLE["upstreams"]["local"]}}))
    owner = User.objects.create_user("owner@example.org")
    Membership.objects.create(org=acme, user=owner, roles=["owner"])
    client.force_login(owner)
    made = client.put(
        "/api/v1/orgs/acme/upstreams/more", {"url": "https://1.1.1.1/mcp"}, content_type="application/json"
    )
    assert made.status_code == 422
    assert "acme may have 1 upstream" in made.content.decode()
    assert list(Upstream.objects.values_list("slug", flat=True)) == ["local"]
