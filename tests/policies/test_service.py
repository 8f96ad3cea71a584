"""Policy as it is stored: what the built-in roles reach, what explains itself, what makes a snapshot stale."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from mcphub.accounts import services
from mcphub.accounts.models import Org
from mcphub.accounts.roles import Right, rights_of, role_names
from policies.engine import decide
from policies.explaining import UnknownTool, explain
from policies.facts import client_facts, principal_facts, request_for
from policies.models import Grant, Role, Rule
from policies.service import compile_org, review_rule
from policies.types import KINDS, Risk, Target
from tests.policies.conftest import World, upstream
from upstreams.models import Definition, DefinitionVersion
from upstreams.types import ClientFacts

READ = Target("tool", "time", "get_time", Risk.READ)
WRITE = Target("tool", "time", "set_time", Risk.WRITE)


def effect(world: World, who: str, target: Target, **arguments: Any) -> str:
    principal = world.principal(who)
    request = request_for(principal, target, facts=principal_facts(principal), arguments=lambda: arguments)
    return decide(compile_org(world.org.pk).ruleset, request).effect


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(
    ("who", "reading", "writing"),
    [
        ("owner", "allow", "allow"),
        ("operator", "allow", "allow"),
        ("viewer", "allow", "deny"),
        ("member", "deny", "deny"),
    ],
)
def test_built_in_roles(world: World, who: str, reading: str, writing: str) -> None:
    assert (effect(world, who, READ), effect(world, who, WRITE)) == (reading, writing)


def test_built_in_roles_hold_without_their_rows(world: World) -> None:
    Role.objects.for_org(world.org).delete()
    assert effect(world, "viewer", READ) == "allow"
    assert effect(world, "viewer", WRITE) == "deny"


@pytest.mark.requirement("O2")
def test_grants_to_built_in_and_own_roles(world: World) -> None:
    member = Role.objects.for_org(world.org).get(name="member")
    Grant.objects.create(
        org=world.org, role=member, upstream=world.time, access="none", tools={"tool": {"set_time": True}}
    )
    assert effect(world, "member", WRITE) == "allow"
    assert effect(world, "member", READ) == "deny"
    nightly = Role.objects.create(org=world.org, name="nightly", auto_grant="all")
    services.set_roles(world.people["member"].memberships.get(), ["member", "nightly"])
    assert effect(world, "member", READ) == "allow"
    Grant.objects.create(org=world.org, role=nightly, upstream=world.time, access="none")
    assert effect(world, "member", READ) == "deny"


def test_rules_of_another_org_hold_nothing(world: World) -> None:
    Rule.objects.create(org=world.other, name="stop", effect="deny")
    assert effect(world, "owner", WRITE) == "allow"
    Rule.objects.create(org=world.org, name="stop", effect="deny", condition="arguments.zone != 'UTC'")
    assert effect(world, "owner", WRITE, zone="CET") == "deny"
    assert effect(world, "owner", WRITE, zone="UTC") == "allow"


def test_own_roles_carry_rights_and_can_be_given(world: World) -> None:
    Role.objects.create(org=world.org, name="auditor", rights=["read_audit"])
    assert "auditor" in role_names(str(world.org.pk))
    assert "auditor" not in role_names(str(world.other.pk))
    assert rights_of(str(world.org.pk), ["auditor"]) == {Right.READ_AUDIT}
    assert rights_of(str(world.other.pk), ["auditor"]) == frozenset()


def test_a_stored_row_cannot_widen_a_built_in_role(world: World) -> None:
    Role.objects.for_org(world.org).filter(name="member").update(rights=["manage_org"])
    assert rights_of(str(world.org.pk), ["member"]) == frozenset()


@pytest.mark.requirement("O8")
def test_every_change_of_policy_makes_the_snapshot_stale(world: World) -> None:
    seen = [version(world.org)]
    rule = Rule.objects.create(org=world.org, name="a", effect="deny")
    seen.append(version(world.org))
    rule.priority = 5
    rule.save()
    seen.append(version(world.org))
    Rule.objects.for_org(world.org).update(enabled=False)
    seen.append(version(world.org))
    role = Role.objects.create(org=world.org, name="nightly")
    seen.append(version(world.org))
    Grant.objects.create(org=world.org, role=role, upstream=world.time)
    seen.append(version(world.org))
    role.delete()
    seen.append(version(world.org))
    assert seen == sorted(set(seen))


def version(org: Org) -> int:
    return int(Org.objects.get(pk=org.pk).config_version)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"condition": "nobody.id == 1"}, "condition"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["tools"]}, "kinds"),
        ({"kinds": "tool"}, "kinds"),
        ({"risks": ["external-api"]}, "risks"),
        ({"tools": [""]}, "tools"),
        ({"tools": [1]}, "tools"),
        ({"tools": ["x"] * 201}, "tools"),
        ({"upstreams": ["x" * 1025]}, "upstreams"),
        ({"effect": "maybe"}, "effect"),
    ],
)
def test_bad_rules_are_refused_with_the_field(world: World, values: dict[str, Any], field: str) -> None:
    rule = Rule(**{"org": world.org, "name": "a", "effect": "deny", **values})
    with pytest.raises(ValidationError) as caught:
        rule.full_clean()
    assert field in caught.value.message_dict


def test_condition_faults_name_line_and_column(world: World) -> None:
    rule = Rule(org=world.org, name="a", effect="deny", condition="true &&\n  nobody.id == 1")
    with pytest.raises(ValidationError, match="Line 2, column 3: unknown name 'nobody'"):
        rule.full_clean()


def test_grants_stay_within_their_org(world: World) -> None:
    role = Role.objects.for_org(world.other).get(name="member")
    with pytest.raises(ValidationError):
        Grant(org=world.org, role=role, upstream=world.time).full_clean()
    own = Role.objects.for_org(world.org).get(name="member")
    with pytest.raises(ValidationError):
        Grant(org=world.org, role=own, upstream=upstream(world.other, "secret")).full_clean()
    with pytest.raises(ValidationError):
        Grant(org=world.org, role=own, upstream=world.time, tools={"tool": ["x"]}).full_clean()


def test_roles_cannot_pose_as_built_in_or_carry_unknown_rights(world: World) -> None:
    Role.objects.for_org(world.org).filter(name="owner").delete()
    with pytest.raises(ValidationError):
        Role(org=world.org, name="owner").full_clean()
    with pytest.raises(ValidationError):
        Role(org=world.org, name="x y").full_clean()
    with pytest.raises(ValidationError):
        Role(org=world.org, name="root", rights=["everything"]).full_clean()


@pytest.mark.requirement("O9")
def test_explain_names_the_rule_and_who_can_change_it(world: World) -> None:
    Rule.objects.create(org=world.org, name="freeze", effect="deny", tools=["set_*"], reason="quarter end")
    found = explain(world.org, world.principal("owner"), "time__set_time")
    assert (found.effect, found.rule_name, found.reason, found.listed) == ("deny", "freeze", "quarter end", False)
    assert found.changeable_by == ("operator@example.org", "owner@example.org")
    assert explain(world.org, world.principal("owner"), "get_time").rule_name == "role:owner"


@pytest.mark.requirement("O9")
def test_explain_says_what_was_missed_and_who_could(world: World) -> None:
    Rule.objects.create(org=world.org, name="for ops", effect="allow", tools=["set_*"], roles=["ops-*"])
    found = explain(world.org, world.principal("viewer"), "time/set_time")
    assert (found.effect, found.rule) == ("deny", "")
    whys = [line.why for line in found.trace]
    assert "it is for other roles" in whys
    assert "role viewer has read-only on every upstream, but this is write" in whys
    assert found.opened_for == ("operator", "owner")


def test_explain_tells_when_the_arguments_decide(world: World) -> None:
    Rule.objects.create(org=world.org, name="zone", effect="deny", tools=["set_*"], condition="arguments.zone == 'X'")
    owner = world.principal("owner")
    open_ended = explain(world.org, owner, "set_time")
    assert open_ended.open_arguments
    assert open_ended.listed
    assert "a field is absent" in open_ended.trace[0].why
    assert explain(world.org, owner, "set_time", {"zone": "Y"}).effect == "allow"
    assert explain(world.org, owner, "set_time", {"zone": "X"}).effect == "deny"


def switch_off(tools: QuerySet[Definition]) -> None:
    tools.update(enabled=False)


def hold_back(tools: QuerySet[Definition]) -> None:
    DefinitionVersion.objects.filter(definition__in=tools).update(review="held")


@pytest.mark.parametrize(("close", "gate"), [(switch_off, "definition_disabled"), (hold_back, "held")])
def test_explain_sees_closed_gates(world: World, close: Callable[[Any], None], gate: str) -> None:
    close(Definition.objects.filter(name="get_time"))
    found = explain(world.org, world.principal("owner"), "get_time")
    assert (found.effect, found.rule, found.right) == ("deny", f"gate:{gate}", Right.MANAGE_UPSTREAMS)
    assert not found.listed


def test_explain_knows_only_what_is_offered(world: World) -> None:
    with pytest.raises(UnknownTool, match="no tool"):
        explain(world.org, world.principal("owner"), "nothing")
    other = upstream(world.org, "clock")
    from upstreams.services import store_catalogue

    store_catalogue(other.pk, "", {"tool": [{"name": "get_time", "inputSchema": {"type": "object"}}]})
    with pytest.raises(UnknownTool, match="clock__get_time, time__get_time"):
        explain(world.org, world.principal("owner"), "get_time")


def test_conditions_see_the_principal_and_what_the_client_says(world: World) -> None:
    facts = principal_facts(world.principal("viewer"))
    assert facts["org"] == "north"
    assert facts["roles"] == ["viewer"]
    assert facts["attributes"]["email"] == "viewer@example.org"
    client = client_facts(ClientFacts(info={"name": "cursor", "other": 1}, capabilities={"roots": {}}))
    assert client == {"name": "cursor", "capabilities": {"roots": {}}}
    Rule.objects.create(
        org=world.org, name="m", effect="allow", condition="principal.attributes.email.endsWith('.org')"
    )
    assert effect(world, "member", WRITE) == "allow"


def test_a_rule_that_leaves_a_role_with_nothing_says_so_before_it_bites(world: World) -> None:
    def warnings(**changes: Any) -> list[str]:
        values: dict[str, Any] = {"name": "new", "effect": "deny", "priority": 1, "kinds": list(KINDS), **changes}
        review = review_rule(world.org.pk, Rule(org=world.org, **values).spec())
        return [text for text in review.warnings if "with nothing" in text]

    assert warnings(roles=["viewer"]) == ["It leaves the role viewer with nothing."]
    assert warnings(roles=["viewer"], kinds=["prompt"]) == []
    assert warnings(roles=["viewer"], effect="ask") == []
    assert warnings(roles=["viewer"], priority=2_000, enabled=False) == []
    assert {f"It leaves the role {role} with nothing." for role in ("owner", "operator", "viewer")} <= set(warnings())
