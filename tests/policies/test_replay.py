"""A draft against the record: which calls would change, by whom and how often, and what cannot be known."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from audit import journal
from audit.events import Event, Kind, PayloadMode
from mcphub.accounts import services
from mcphub.accounts.acts import COMMAND_LINE
from mcphub.core.clock import epoch_us
from mcphub.core.ids import new_call_id
from policies.drafts import BadDraft, draft_of
from policies.models import Replay, Rule
from policies.replaying import replay, summary
from policies.replays import ask, work
from policies.tasks import replays
from tests.policies.conftest import World
from tests.policies.test_admin import browser, rule_form

pytestmark = [pytest.mark.requirement("O9"), pytest.mark.django_db]
JSON = "application/json"
DAY_US = 86_400_000_000


def called(
    world: World,
    who: str = "owner",
    name: str = "set_time",
    arguments: dict[str, Any] | None = None,
    effect: str = "allow",
    days_ago: float = 0,
    **more: Any,
) -> None:
    """One call on record."""
    caller = world.principal(who)
    facts: dict[str, Any] = {
        "principal_id": caller.id,
        "principal": caller.label,
        "method": "tools/call",
        "upstream": "time",
        "name": name,
        "risk": "write",
        "payload": json.dumps(arguments).encode() if arguments else b"",
        **more,
    }
    at = epoch_us() - int(days_ago * DAY_US)
    kind = Kind.INTENT if effect == "allow" else Kind.DENIED
    journal.append(Event(kind, at, str(world.org.pk), "north", new_call_id(), effect=effect, **facts))


def found(world: World, *put: dict[str, Any], remove: tuple[str, ...] = (), days: int = 7) -> dict[str, Any]:
    draft = draft_of(world.org, {"put": list(put), "remove": list(remove)})
    return summary(replay(world.org.pk, draft, days, pause_s=0))


def deny(**values: Any) -> dict[str, Any]:
    return {"name": "draft", "effect": "deny", "priority": 1, **values}


def changes(result: dict[str, Any]) -> list[tuple[str, str, str, str, int]]:
    return [
        (one["principal"].partition("@")[0], one["name"], one["before"], one["after"], one["count"])
        for one in result["changes"]
    ]


def test_it_says_who_would_have_been_refused_what_and_how_often(world: World) -> None:
    for _ in range(3):
        called(world)
    called(world, "operator")
    called(world, "owner", "get_time", risk="read")
    result = found(world, deny(tools=["set_*"]))
    assert changes(result) == [
        ("owner", "set_time", "allow", "deny", 3),
        ("operator", "set_time", "allow", "deny", 1),
    ]
    assert (result["calls"], result["changed"], result["unknown"]) == (5, 4, {})
    assert result["by_effect"] == {"allow-deny": 4}
    assert result["changes"][0]["reason"] == "rule 'draft' denies this"


@pytest.mark.parametrize(
    ("stored", "draft", "seen"),
    [
        ({}, {"put": [deny(tools=["other"])]}, []),
        ({}, {"put": [deny(effect="ask")]}, [("allow", "ask")]),
        ({}, {"put": [deny(effect="allow")]}, []),
        ({}, {"put": [deny(enabled=False)]}, []),
        ({"effect": "deny"}, {"put": [], "remove": ["kept"]}, [("deny", "allow")]),
        ({"effect": "deny"}, {"put": [deny(name="kept", tools=["x"])]}, [("deny", "allow")]),
        ({"effect": "deny"}, {"put": [deny(name="kept", reason="other words")]}, []),
        ({"effect": "deny", "priority": 5}, {"put": [deny(effect="allow")]}, [("deny", "allow")]),
        ({"effect": "deny", "priority": 0}, {"put": [deny(effect="allow")]}, []),
    ],
)
def test_added_changed_and_removed_rules(
    world: World, stored: dict[str, Any], draft: dict[str, Any], seen: list[tuple[str, str]]
) -> None:
    if stored:
        Rule.objects.create(org=world.org, name="kept", **stored)
    called(world)
    result = summary(replay(world.org.pk, draft_of(world.org, draft), 7, pause_s=0))
    assert [(one["before"], one["after"]) for one in result["changes"]] == seen


def test_conditions_see_the_arguments_on_record(world: World) -> None:
    called(world, arguments={"zone": "X"})
    called(world, arguments={"zone": "X"})
    called(world, arguments={"zone": "Y"})
    called(world)
    result = found(world, deny(condition="has(arguments.zone) && arguments.zone == 'X'"))
    assert (result["calls"], result["changed"], result["unknown"]) == (4, 2, {})


@pytest.mark.parametrize(
    ("call", "draft", "unknown"),
    [
        ({"arguments": {"zone": "X"}, "payload_mode": PayloadMode.NONE}, "arguments.zone == 'X'", "arguments"),
        ({"arguments": {"zone": "X"}, "payload_mode": PayloadMode.HASH}, "arguments.zone == 'X'", "arguments"),
        ({"arguments": {"token": "abc"}}, "arguments.zone == 'X'", "arguments"),
        ({"arguments": {"zone": "X" * 20_000}}, "arguments.zone == 'X'", "arguments"),
        ({"arguments": {"token": "abc"}}, "tool.name == 'set_time'", ""),
        ({"arguments": {"token": "abc"}, "name": "get_time"}, "arguments.zone == 'X'", ""),
        ({}, "client.name == 'x'", "client"),
        ({"principal_id": "user:00000000-0000-0000-0000-000000000000"}, "", "caller"),
        ({"principal_id": "key:gone"}, "", "caller"),
        ({"method": "completion/complete"}, "", "method"),
        ({"method": "tasks/get"}, "", ""),
    ],
)
def test_what_cannot_be_known_is_said_to_be_unknown(
    world: World, call: dict[str, Any], draft: str, unknown: str
) -> None:
    called(world, **call)
    result = found(world, deny(tools=["set_*"], condition=draft))
    assert (result["calls"], result["unknown"]) == (1, {unknown: 1} if unknown else {})


def test_a_flood_of_denials_counts_as_what_it_was(world: World) -> None:
    Rule.objects.create(org=world.org, name="shut", effect="deny")
    called(world, effect="deny", details={"denials": 40, "window_s": 60})
    called(world, effect="deny")
    assert found(world, remove=("shut",))["changes"][0]["count"] == 41


def test_only_the_last_days_of_this_org_are_read(world: World) -> None:
    called(world)
    called(world, days_ago=8)
    assert found(world, deny())["calls"] == 1
    assert found(world, deny(), days=9)["calls"] == 2
    assert summary(replay(world.other.pk, draft_of(world.other, {"put": [deny()]}), 7, pause_s=0))["calls"] == 0


def test_a_key_that_reaches_none_of_it_changes_nothing(world: World) -> None:
    made = services.create_key(world.org, "ci", roles=["owner"], upstreams=["files"])
    called(world, principal_id=f"key:{made.row.pk}", credential=made.row.public_id)
    assert found(world, deny())["changed"] == 0


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "Write"),
        ({"rules": []}, "Write"),
        ({"put": {"name": "x"}}, "lists"),
        ({"put": [5]}, "not an object"),
        ({"put": [{"name": "x"}]}, "effect"),
        ({"put": [deny(condition="arguments.x =")]}, "Line 1, column 13"),
        ({"put": [deny(prio=3)]}, "unknown 'prio'"),
        ({"put": [deny(priority="high")]}, "priority"),
        ({"put": [deny(tools=[5])]}, "tools"),
        ({"remove": ["absent"]}, "no rule 'absent'"),
    ],
)
def test_a_draft_that_cannot_be_saved_cannot_be_tried(world: World, document: Any, fault: str) -> None:
    with pytest.raises(BadDraft, match=fault):
        draft_of(world.org, document)


def test_the_command_reads_drafts_as_yaml(world: World, tmp_path: Path) -> None:
    called(world)
    draft = tmp_path / "draft.yaml"
    draft.write_text("put:\n  - name: no writes\n    effect: deny\n    risks: [write]\n")
    out = io.StringIO()
    call_command("replay", str(draft), "--org", "north", stdout=out)
    assert "1 calls read" in out.getvalue()
    assert "allow → deny  time/set_time by owner@example.org" in out.getvalue()
    for bad in (
        ("--org", "north"),
        (str(tmp_path / "absent"), "--org", "north"),
        ("--without", "x", "--org", "north"),
    ):
        with pytest.raises(CommandError) as caught:
            call_command("replay", *bad)
        assert caught.value.returncode == 2


def test_a_worker_does_each_replay_once(world: World) -> None:
    called(world)
    row = ask(world.org, "With draft", {"put": [deny()]}, 7, by=COMMAND_LINE)
    assert Replay.objects.get(pk=row.pk).state == Replay.State.DUE
    assert work() == 1
    assert work() == 0
    row.refresh_from_db()
    assert (row.state, row.calls, row.result["changed"]) == (Replay.State.DONE, 1, 1)


def test_a_replay_whose_worker_died_is_taken_anew_and_a_hopeless_one_says_so(world: World) -> None:
    row = ask(world.org, "With draft", {"put": [deny()]}, 7, by=COMMAND_LINE)
    Replay.objects.filter(pk=row.pk).update(state="running", worked_at="2020-01-01T00:00:00Z", draft={"put": [{}]})
    replays.run()
    row.refresh_from_db()
    assert row.state == Replay.State.FAILED
    assert "effect" in row.fault


@pytest.mark.requirement("D5")
def test_operator_tries_a_draft_from_its_form(world: World) -> None:
    called(world)
    operator = browser(world, "operator")
    form = rule_form(world.org, name="try me", days="30")
    answer = operator.post("/admin/policies/rule/replay/", form, headers={"HX-Request": "true"})
    page = answer.headers["HX-Redirect"]
    assert "waiting" in operator.get(page).content.decode().lower()
    work()
    text = operator.get(page, headers={"HX-Request": "true"}).content.decode()
    assert "1 of 1 calls would be decided otherwise" in text
    assert "time/set_time" in text
    assert not Rule.objects.exists()
    assert (
        operator.post("/admin/policies/rule/replay/", form).headers["location"].startswith("/admin/policies/replay/")
    )


def test_a_changed_name_and_a_removed_rule(world: World) -> None:
    rule = Rule.objects.create(org=world.org, name="shut", effect="deny")
    called(world, effect="deny")
    operator = browser(world, "operator")
    for changed in ({"name": "renamed", "effect": "allow"}, {"without": "1"}):
        form = rule_form(world.org, **{"saved": str(rule.pk), **changed})
        operator.post("/admin/policies/rule/replay/", form)
    work()
    assert [row.result["by_effect"] for row in Replay.objects.all()] == [{"deny-allow": 1}, {"deny-allow": 1}]


def test_faults_are_shown_instead(world: World) -> None:
    form = rule_form(world.org, condition="arguments.x =")
    text = browser(world, "operator").post("/admin/policies/rule/replay/", form).content.decode()
    assert "column 13" in text
    assert not Replay.objects.exists()


@pytest.mark.parametrize("who", ["stranger", "viewer", "member"])
def test_who_may_not_write_policy_may_not_try_it(world: World, who: str) -> None:
    row = ask(world.org, "With draft", {"put": [deny()]}, 7, by=COMMAND_LINE)
    client: Client = browser(world, who)
    assert client.post("/admin/policies/rule/replay/", rule_form(world.org)).status_code in (302, 404)
    assert Replay.objects.count() == 1
    seen = client.get(f"/admin/policies/replay/{row.pk}/change/").status_code
    assert seen == {"viewer": 200, "stranger": 404, "member": 302}[who]


@pytest.mark.requirement("X1")
def test_the_api_asks_for_a_replay_and_shows_what_it_found(world: World) -> None:
    called(world)
    client = browser(world, "operator")
    url = f"/api/v1/orgs/{world.org.slug}/replays"
    draft = {"put": [{"name": "no time", "effect": "deny", "priority": 1, "tools": ["set_time"]}], "days": 3}
    asked = client.post(url, draft, content_type=JSON)
    assert asked.status_code == 202, asked.content
    one = f"{url}/{asked.json()['id']}"
    assert client.get(one).json()["result"] is None
    replays()
    found = client.get(one).json()
    assert (found["state"], found["result"]["changed"]) == ("done", 1)
    assert found["result"]["changes"][0]["name"] == "set_time"
    assert [each["id"] for each in client.get(url).json()["items"]] == [asked.json()["id"]]
    bad = client.post(url, {"remove": ["nothing"]}, content_type=JSON)
    assert (bad.status_code, bad.json()["error"]["code"]) == (422, "invalid")
    assert client.delete(one).status_code == 204
    assert client.get(one).status_code == 404
    assert browser(world, "viewer").post(url, draft, content_type=JSON).status_code == 403
