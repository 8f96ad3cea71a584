"""Why a call was decided as it was: told to its caller and to readers of the audit, and to nobody else."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from audit import journal
from audit.events import Event, Kind, PayloadMode
from mcphub.core.clock import epoch_us
from mcphub.core.ids import new_call_id
from policies.models import Rule
from policies.recorded import exact_arguments
from tests.policies.conftest import World

EXPLAIN = "/admin/policies/rule/explain/"


def recorded(
    world: World, who: str, name: str = "get_time", effect: str = "deny", arguments: Any = None, **more: Any
) -> str:
    """A call on record; its id."""
    caller = world.principal(who)
    event = Event(
        kind=Kind.INTENT if effect == "allow" else Kind.DENIED,
        at=epoch_us(),
        org_id=str(world.org.pk),
        org="north",
        call_id=new_call_id(),
        principal_id=caller.id,
        principal=caller.label,
        method="tools/call",
        upstream="time",
        name=name,
        risk="read",
        effect=effect,
        reason="" if effect == "allow" else "rule 'zones' denies this",
        payload=json.dumps(arguments).encode() if arguments else b"",
        **more,
    )
    journal.append(event)
    return event.call_id


def page(world: World, who: str, call_id: str) -> tuple[int, str]:
    client = Client()
    client.force_login(world.people[who])
    answer = client.get(f"/why/{call_id}/")
    return answer.status_code, answer.content.decode()


def plain(text: str) -> str:
    """A page without the token of its forms."""
    return re.sub(r'value="\w{64}"', "", text)


@pytest.fixture
def zones(world: World) -> Rule:
    condition = "has(arguments.zone) && arguments.zone == 'X'"
    return Rule.objects.create(org=world.org, name="zones", effect="deny", tools=["get_*"], condition=condition)


@pytest.mark.requirement("O9")
@pytest.mark.parametrize(
    ("who", "status"), [("viewer", 200), ("owner", 200), ("member", 404), ("stranger", 404), ("hub_admin", 200)]
)
def test_the_caller_and_readers_of_the_audit_see_it(world: World, zones: Rule, who: str, status: int) -> None:
    call_id = recorded(world, "viewer", arguments={"zone": "X"})
    seen, text = page(world, who, call_id)
    assert seen == status
    if status == 200:
        assert "rule &#x27;zones&#x27; denies this" in text
        assert "rule_denies" in text
        assert "operator@example.org, owner@example.org" in text
    else:
        assert "zones" not in text
        assert plain(text) == plain(page(world, who, "no-such-call")[1])


def test_a_member_is_told_of_their_own_call_without_the_other_rules(world: World, zones: Rule) -> None:
    Rule.objects.create(org=world.org, name="all", effect="allow", priority=500)
    status, text = page(world, "member", recorded(world, "member", arguments={"zone": "X"}))
    assert status == 200
    assert "rule_denies" in text
    assert "Line by line" not in text
    assert "Line by line" in page(world, "viewer", recorded(world, "viewer", arguments={"zone": "X"}))[1]


def test_a_hidden_tool_stays_hidden_from_its_caller(world: World) -> None:
    call_id = recorded(world, "member", "set_time")
    assert page(world, "member", call_id)[0] == 404
    assert page(world, "owner", call_id)[0] == 200


def test_it_says_when_the_arguments_are_not_known(world: World, zones: Rule) -> None:
    text = page(world, "viewer", recorded(world, "viewer", arguments={"token": "abc"}))[1]
    assert "not kept whole" in text
    assert "not kept whole" not in page(world, "viewer", recorded(world, "viewer"))[1]


def test_an_allowed_call_has_its_reasons_too(world: World) -> None:
    text = page(world, "viewer", recorded(world, "viewer", effect="allow"))[1]
    assert "Why this call was allowed" in text
    assert "grant_allows" in text


def test_what_is_gone_is_said_to_be_gone(world: World) -> None:
    call_id = recorded(world, "viewer", effect="allow")
    world.time.delete()
    assert "not there any longer" in page(world, "viewer", call_id)[1]


def test_who_is_not_signed_in_is_asked_to(world: World) -> None:
    answer = Client().get(f"/why/{recorded(world, 'viewer')}/")
    assert answer.status_code == 302


@pytest.mark.parametrize(
    ("mode", "digest", "body", "known"),
    [
        (PayloadMode.NONE, b"", None, None),
        (PayloadMode.REDACTED, b"", None, {}),
        (PayloadMode.HASH, b"", None, {}),
        (PayloadMode.HASH, b"d", None, None),
        (PayloadMode.REDACTED, b"d", b'{"a": 1}', {"a": 1}),
        (PayloadMode.FULL, b"d", b'{"a": 1}', {"a": 1}),
        (PayloadMode.REDACTED, b"d", b'{"a": "[redacted]"}', None),
        (PayloadMode.FULL, b"d", b'{"truncated": true, "bytes": 9, "start": "{"}', None),
        (PayloadMode.FULL, b"d", None, None),
        (PayloadMode.FULL, b"d", b"[1]", None),
        (PayloadMode.FULL, b"d", b"nonsense", None),
    ],
)
def test_arguments_are_exact_or_unknown(mode: str, digest: bytes, body: bytes | None, known: Any) -> None:
    assert exact_arguments(mode, digest, body) == known


def ask(world: World, who: str, **values: str) -> tuple[int, str]:
    client = Client()
    client.force_login(world.people[who])
    answer = client.get(EXPLAIN, {"org": "north", "kind": "tool", **values}, headers={"HX-Request": "true"})
    return answer.status_code, answer.content.decode()


@pytest.mark.requirement("O9", "D5")
def test_the_page_explains_before_anybody_calls(world: World, zones: Rule) -> None:
    asked = {"principal": "viewer@example.org", "name": "time__get_time"}
    assert "grant_allows" in ask(world, "viewer", **asked)[1]
    assert "depends on the arguments" in ask(world, "viewer", **asked)[1]
    assert "rule_denies" in ask(world, "viewer", **asked, arguments='{"zone": "X"}')[1]
    assert "not JSON" in ask(world, "viewer", **asked, arguments="{")[1]
    assert "called so" in ask(world, "viewer", principal="nobody", name="x")[1]
    assert "is offered no tool" in ask(world, "viewer", principal="viewer@example.org", name="x")[1]
    read = {"principal": "viewer@example.org", "kind": "resource", "name": "file:///srv/a"}
    assert "grant_allows" in ask(world, "viewer", **read)[1]


@pytest.mark.parametrize("who", ["member", "operator", "stranger"])
def test_who_may_ask(world: World, who: str) -> None:
    status, text = ask(world, who, principal="viewer@example.org", name="time__get_time")
    assert ("grant_allows" in text) == (who == "operator")
    assert status == {"member": 302, "operator": 200, "stranger": 200}[who]  # a member has no admin at all
