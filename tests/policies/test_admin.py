"""The pages of roles, grants and rules: for those who manage policy, in their own orgs, and on record."""

import json
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEvent, AuditPayload
from mcphub.accounts import services
from mcphub.accounts.models import Org
from policies.models import Grant, Role, Rule
from policies.service import compile_org
from tests.policies.conftest import World

RULES = "/admin/policies/rule/"
ROLES = "/admin/policies/role/"
GRANTS = "/admin/policies/grant/"


def browser(world: World, who: str) -> Client:
    client = Client()
    client.force_login(world.people[who])
    return client


def rule_form(org: Org, **values: Any) -> dict[str, Any]:
    return {
        "org": str(org.pk),
        "name": "no-writes",
        "effect": "deny",
        "priority": "10",
        "enabled": "on",
        "reason": "",
        "kinds": ["tool"],
        "roles": "",
        "upstreams": "",
        "tools": "",
        "applications": "",
        "condition": "",
        **values,
    }


@pytest.mark.requirement("D12")
def test_operator_writes_a_rule(world: World) -> None:
    client = browser(world, "operator")
    answer = client.post(f"{RULES}add/", rule_form(world.org, tools="set_*, delete_*\nwipe", risks=["write"]))
    assert answer.status_code == 302, answer.context["errors"]
    rule = Rule.objects.get()
    assert (rule.org, rule.tools, rule.risks) == (world.org, ["set_*", "delete_*", "wipe"], ["write"])
    page = client.get(f"{RULES}{rule.pk}/change/").content.decode()
    assert "time__set_time" in page
    assert "time__get_time" not in page
    event = AuditEvent.objects.filter(method="rule.create").latest("id")
    assert event.principal == "operator@example.org"


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"condition": "nobody.id == 1"}, "unknown name"),
        ({"condition": "arguments.a.all(x, arguments.b.all(y, x == y))"}, "nested"),
        ({"kinds": []}, "required"),
        ({"effect": "maybe"}, "valid choice"),
        ({"name": ""}, "required"),
    ],
)
def test_faulty_rules_are_refused_in_the_form(world: World, values: dict[str, Any], fault: str) -> None:
    answer = browser(world, "operator").post(f"{RULES}add/", rule_form(world.org, **values))
    assert answer.status_code == 200
    assert fault in answer.content.decode()
    assert not Rule.objects.exists()


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"roles": "nobody"}, "no role has such a name"),
        ({"tools": "frobnicate"}, "matches nothing"),
        ({"tools": "set_*", "priority": "99"}, "shadowed"),
    ],
)
def test_rules_that_can_never_decide_are_saved_with_a_warning(
    world: World, values: dict[str, Any], warning: str
) -> None:
    Rule.objects.create(org=world.org, name="first", effect="allow", priority=50)
    answer = browser(world, "operator").post(f"{RULES}add/", rule_form(world.org, **values), follow=True)
    assert Rule.objects.count() == 2
    assert warning in answer.content.decode()


def test_the_form_shows_what_a_rule_would_touch_before_it_is_saved(world: World) -> None:
    client = browser(world, "operator")
    answer = client.post(f"{RULES}preview/", rule_form(world.org, tools="delete_*", condition="nope == 1"))
    page = answer.content.decode()
    assert "files__delete_file" in page
    assert "time__set_time" not in page
    assert "unknown name" in page
    assert not Rule.objects.exists()


def test_previewing_a_saved_rule_changes_nothing(world: World) -> None:
    rule = Rule.objects.create(org=world.org, name="first", effect="allow", tools=["get_*"])
    client = browser(world, "operator")
    answer = client.post(f"{RULES}preview/", rule_form(world.org, saved=str(rule.pk), tools="set_*"))
    assert "time__set_time" in answer.content.decode()
    rule.refresh_from_db()
    assert rule.tools == ["get_*"]


@pytest.mark.requirement("T6")
def test_strangers_see_and_preview_nothing(world: World) -> None:
    rule = Rule.objects.create(org=world.org, name="secret-rule", effect="deny")
    grant = Grant.objects.create(org=world.org, role=role(world.org, "member"), upstream=world.time)
    stranger = browser(world, "stranger")
    assert "secret-rule" not in stranger.get(RULES).content.decode()
    unknown = "01a1fd69-0000-7000-8000-000000000000"
    for page, row in ((RULES, rule), (GRANTS, grant), (ROLES, role(world.org, "member"))):
        for act in ("change", "delete"):
            assert stranger.get(f"{page}{row.pk}/{act}/").status_code == 404
            assert stranger.get(f"{page}{unknown}/{act}/").status_code == 404
    assert stranger.post(f"{RULES}preview/", rule_form(world.org, saved=str(rule.pk))).status_code == 404
    assert stranger.post(f"{RULES}preview/", rule_form(world.org)).status_code == 404
    assert stranger.post(f"{RULES}add/", rule_form(world.org)).status_code == 200
    assert Rule.objects.count() == 1


def test_viewers_read_and_members_see_no_policy(world: World) -> None:
    rule = Rule.objects.create(org=world.org, name="freeze", effect="deny")
    viewer = browser(world, "viewer")
    assert "freeze" in viewer.get(RULES).content.decode()
    assert viewer.post(f"{RULES}{rule.pk}/change/", rule_form(world.org)).status_code == 403
    assert viewer.post(f"{RULES}add/", rule_form(world.org)).status_code == 403
    assert viewer.post(RULES, {"action": "switch_off", "_selected_action": [str(rule.pk)]}).status_code in (200, 302)
    rule.refresh_from_db()
    assert rule.enabled
    assert browser(world, "member").get(RULES).status_code in (302, 403)


def test_operator_switches_rules_off_from_the_list(world: World) -> None:
    mine = Rule.objects.create(org=world.org, name="a", effect="deny")
    theirs = Rule.objects.create(org=world.other, name="b", effect="deny")
    chosen = [str(mine.pk), str(theirs.pk)]
    browser(world, "operator").post(RULES, {"action": "switch_off", "_selected_action": chosen})
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.enabled, theirs.enabled) == (False, True)
    assert compile_org(world.org.pk).ruleset.entries[0].source != "rule"


def role(org: Org, name: str) -> Role:
    return Role.objects.for_org(org).get(name=name)


@pytest.mark.requirement("O2")
def test_operator_grants_and_switches_single_tools(world: World) -> None:
    client = browser(world, "operator")
    values = {"org": str(world.org.pk), "role": str(role(world.org, "member").pk), "upstream": str(world.time.pk)}
    assert client.post(f"{GRANTS}add/", {**values, "access": "read-only"}).status_code == 302
    grant = Grant.objects.get()
    page = client.get(f"{GRANTS}{grant.pk}/change/").content.decode()
    assert "set_time" in page
    answer = client.post(
        f"{GRANTS}{grant.pk}/change/",
        {"access": "none", "tools-on": ["tool:set_time"], "tools-off": ["tool:get_time"]},
    )
    assert answer.status_code == 302, answer.context["errors"]
    grant.refresh_from_db()
    assert (grant.access, grant.tools) == ("none", {"tool": {"set_time": True, "get_time": False}})
    assert (
        'value="tool:set_time" aria-label="set_time on" checked'
        in client.get(f"{GRANTS}{grant.pk}/change/").content.decode()
    )
    both = {"access": "none", "tools-on": ["tool:set_time"], "tools-off": ["tool:set_time"]}
    assert "Both on and off" in client.post(f"{GRANTS}{grant.pk}/change/", both).content.decode()
    unknown = {"access": "none", "tools-on": ["spell:x"]}
    assert "Unknown" in client.post(f"{GRANTS}{grant.pk}/change/", unknown).content.decode()


def test_grants_cannot_name_another_orgs_rows(world: World) -> None:
    client = browser(world, "hub_admin")
    values = {"org": str(world.org.pk), "role": str(role(world.other, "member").pk), "upstream": str(world.time.pk)}
    answer = client.post(f"{GRANTS}add/", {**values, "access": "all"})
    assert answer.status_code == 200
    assert "belongs to another org" in answer.content.decode()


@pytest.mark.requirement("O1")
def test_operator_makes_a_role_with_no_more_rights_than_theirs(world: World) -> None:
    client = browser(world, "operator")
    values = {"org": str(world.org.pk), "name": "nightly", "auto_grant": "read-only"}
    refused = client.post(f"{ROLES}add/", {**values, "rights": ["manage_members"]})
    assert "You do not hold" in refused.content.decode()
    assert client.post(f"{ROLES}add/", {**values, "rights": ["read_audit"]}).status_code == 302
    made = role(world.org, "nightly")
    assert (made.rights, made.builtin) == (["read_audit"], False)
    assert (
        browser(world, "owner")
        .post(f"{ROLES}{made.pk}/change/", {"auto_grant": "none", "rights": ["read_audit", "manage_members"]})
        .status_code
        == 302
    )
    stripped = client.post(f"{ROLES}{made.pk}/change/", {"auto_grant": "none", "rights": ["read_audit"]})
    assert "You do not hold" in stripped.content.decode()


def test_built_in_roles_keep_their_rights_and_stay(world: World) -> None:
    client = browser(world, "owner")
    viewer = role(world.org, "viewer")
    answer = client.post(f"{ROLES}{viewer.pk}/change/", {"auto_grant": "none", "rights": ["manage_org"], "name": "x"})
    assert answer.status_code == 302
    viewer.refresh_from_db()
    assert (viewer.name, viewer.rights, viewer.auto_grant) == ("viewer", [], "none")
    assert client.post(f"{ROLES}{viewer.pk}/delete/", {"post": "yes"}).status_code == 403
    assert (
        client.post(f"{ROLES}add/", {"org": str(world.org.pk), "name": "owner", "auto_grant": "all"}).status_code
        == 200
    )


def test_a_role_that_somebody_holds_is_not_deleted(world: World) -> None:
    made = Role.objects.create(org=world.org, name="nightly")
    member = world.people["member"].memberships.get()
    services.set_roles(member, ["member", "nightly"])
    client = browser(world, "owner")
    assert client.post(f"{ROLES}{made.pk}/delete/", {"post": "yes"}).status_code == 403
    bulk = {"action": "delete_selected", "_selected_action": [str(made.pk)], "post": "yes"}
    client.post(ROLES, bulk)
    assert Role.objects.filter(pk=made.pk).exists()
    services.set_roles(member, ["member"])
    assert client.post(f"{ROLES}{made.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Role.objects.filter(pk=made.pk).exists()


def test_acts_are_recorded_with_before_and_after(world: World) -> None:
    rule = Rule.objects.create(org=world.org, name="freeze", effect="deny", priority=10)
    client = browser(world, "operator")
    client.post(f"{RULES}{rule.pk}/change/", rule_form(world.org, name="freeze", priority="20"))
    event = AuditEvent.objects.filter(method="rule.change").latest("id")
    assert (event.name, event.org, event.principal) == ("freeze", "north", "operator@example.org")
    change = json.loads(AuditPayload.objects.get(pk=event.pk).body)
    assert (change["before"]["priority"], change["after"]["priority"]) == (10, 20)
