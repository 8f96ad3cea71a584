"""What an operator changes of a definition: rows of (changes, what a client sends, what the upstream gets)."""

import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from audit.models import AuditEvent, AuditPayload
from mcphub.accounts.models import Org
from tests.upstreams.conftest import MakeUpstream, tool
from upstreams.models import Definition
from upstreams.selectors import org_catalogue
from upstreams.services import store_catalogue
from upstreams.shaping import Shape, argument_faults, shape_of

BODY: dict[str, Any] = {
    "name": "search",
    "description": "Search.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer", "description": "At most"},
            "Limit": {"type": "integer"},
            "scope": {"type": ["string", "null"], "enum": ["all", "own", None]},
            "debug": {"type": "boolean"},
        },
        "required": ["query", "scope"],
    },
    "annotations": {"readOnlyHint": True},
}


def default(value: Any) -> dict[str, Any]:
    return {"mode": "default", "value": value}


def fixed(value: Any) -> dict[str, Any]:
    return {"mode": "fixed", "value": value}


HIDDEN = {"mode": "hidden"}


def shape(**arguments: Any) -> Shape:
    found = shape_of(json.dumps(BODY), "", "", arguments)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "sent", "arrives"),
    [
        ({"limit": default(5)}, {"query": "x"}, {"query": "x", "limit": 5}),
        ({"limit": default(5)}, {"limit": 9}, {"limit": 9}),
        ({"limit": default(5)}, {"limit": None}, {"limit": None}),
        ({"scope": fixed("own")}, {"query": "x"}, {"query": "x", "scope": "own"}),
        ({"scope": fixed(None)}, {}, {"scope": None}),
        ({"scope": fixed("own")}, {"scope": "all"}, "scope"),
        ({"scope": fixed("own")}, {"scope": "own"}, "scope"),
        ({"scope": fixed("own")}, {"SCOPE": "all"}, "SCOPE"),
        ({"debug": HIDDEN}, {"query": "x"}, {"query": "x"}),
        ({"debug": HIDDEN}, {"debug": True}, "debug"),
        ({"limit": fixed(5)}, {"Limit": 9}, {"Limit": 9, "limit": 5}),
        ({"limit": default(5), "scope": fixed("own"), "debug": HIDDEN}, {}, {"limit": 5, "scope": "own"}),
    ],
)
def test_what_reaches_the_upstream(changes: dict[str, Any], sent: dict[str, Any], arrives: Any) -> None:
    found = shape(**changes)
    refused = found.refused(sent)
    assert (refused or {**found.filled(sent), **found.fixed}) == arrives


def test_lists_show_no_argument_that_a_client_cannot_choose() -> None:
    found = shape(limit=default(5), scope=fixed("own"), debug=HIDDEN)
    schema = json.loads(found.shown(json.dumps(BODY).encode()))["inputSchema"]
    assert schema["properties"].keys() == {"query", "limit", "Limit"}
    assert schema["properties"]["limit"] == {"type": "integer", "description": "At most", "default": 5}
    assert schema["required"] == ["query"]


def test_all_else_of_a_definition_stays() -> None:
    found = shape_of(json.dumps(BODY), "find", "Find it.", {})
    assert found is not None
    assert json.loads(found.shown(json.dumps(BODY).encode())) == {**BODY, "description": "Find it."}
    assert shape_of(json.dumps(BODY), "", "", {}) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ([], "Write"),
        ({"limit": 5}, "Write"),
        ({"limit": {"mode": "odd", "value": 1}}, "Write"),
        ({"limit": {"mode": "fixed"}}, "Write"),
        ({"debug": {"mode": "hidden", "value": 1}}, "Write"),
        ({"absent": fixed(1)}, "no argument"),
        ({"query": HIDDEN}, "required"),
        ({"limit": fixed("5")}, "integer"),
        ({"limit": fixed(5.5)}, "integer"),
        ({"limit": fixed(True)}, "integer"),
        ({"debug": fixed(1)}, "boolean"),
        ({"scope": fixed("others")}, "one of"),
        ({"query": fixed("x" * 20_000)}, "16 KiB"),
        ({"limit": fixed(5.0)}, ""),
        ({"scope": fixed(None)}, ""),
        ({"query": default("x"), "debug": HIDDEN}, ""),
    ],
)
def test_what_no_call_could_be_made_with_is_refused(changes: Any, fault: str) -> None:
    faults = argument_faults(changes, json.dumps(BODY))
    assert (fault in faults[0]) if fault else not faults


@pytest.fixture
def search(org: Org, make_upstream: MakeUpstream) -> Definition:
    """A stored tool with arguments, and `time__delete` beside it."""
    upstream = make_upstream("time")
    store_catalogue(upstream.pk, "", {"tool": [BODY, tool("delete")], "prompt": [{"name": "search"}]})
    return Definition.objects.get(upstream=upstream, kind="tool", name="search")


@pytest.mark.parametrize("alias", ["delete", "no spaces", "", "find", "search"])
def test_an_alias_never_meets_another_name(search: Definition, alias: str) -> None:
    search.alias = alias
    if alias in ("", "find"):
        search.full_clean()
    else:
        with pytest.raises(ValidationError, match=r"called|letters"):
            search.full_clean()


def test_two_aliases_never_meet(search: Definition) -> None:
    Definition.objects.filter(name="delete").update(alias="wipe")
    search.alias = "wipe"
    with pytest.raises(ValidationError, match="what 'delete' is called"):
        search.full_clean()


def test_rediscovery_keeps_the_changes(org: Org, search: Definition) -> None:
    search.alias, search.arguments = "find", {"scope": fixed("own")}
    search.save()
    newer = {**BODY, "description": "Search it all.", "inputSchema": {"type": "object", "properties": {}}}
    store_catalogue(search.upstream_id, "", {"tool": [newer, tool("find")]})
    record = next(one for one in org_catalogue(org.pk) if one.name == "search" and one.kind == "tool")
    assert record.shape is not None
    assert (record.shape.alias, record.shape.fixed) == ("find", {"scope": "own"})
    search.refresh_from_db()
    search.enabled = False
    search.full_clean()  # a newcomer of that name is no reason to refuse a switch


def page_of(row: Definition) -> str:
    return reverse("admin:upstreams_definition_change", args=[row.pk])


def posted(**changes: str) -> dict[str, Any]:
    names = list(BODY["inputSchema"]["properties"])
    modes = {f"arguments-mode-{at}": changes.get(name, "") for at, name in enumerate(names)}
    values = {f"arguments-value-{at}": changes.get(f"{name}_value", "") for at, name in enumerate(names)}
    rest = {name: changes.get(name, "") for name in ("risk_override", "alias", "described_as")}
    return {"enabled": "on", "arguments-name": names, **modes, **values, **rest}


@pytest.mark.requirement("N4", "U14")
def test_operator_changes_a_tool_and_it_is_on_record(operator: Client, search: Definition) -> None:
    form = posted(alias="find", limit="default", limit_value="5", query="fixed", query_value="news", debug="hidden")
    answer = operator.post(page_of(search), form)
    assert answer.status_code == 302, answer.context["errors"]
    search.refresh_from_db()
    assert search.alias == "find"
    assert search.arguments == {"query": fixed("news"), "limit": default(5), "debug": HIDDEN}
    event = AuditEvent.objects.filter(method="definition.change").latest("id")
    change = json.loads(bytes(AuditPayload.objects.get(id=event.id).body))
    assert (event.name, change["after"]["alias"]) == ("time/tool/search", "find")
    page = operator.get(page_of(search)).content.decode()
    assert "time__find" in page
    assert operator.post(page_of(search), form).status_code == 302


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        (posted(limit="fixed", limit_value="many"), "no JSON value"),
        (posted(limit="fixed", limit_value='"5"'), "must be integer"),
        (posted(query="hidden"), "required by the upstream"),
        (posted(alias="delete"), "what &#x27;delete&#x27; is called"),
    ],
)
def test_faults_are_shown_before_saving_and_when_saving(
    operator: Client,
    search: Definition,
    form: dict[str, Any],
    fault: str,
) -> None:
    preview = reverse("admin:upstreams_definition_preview", args=[search.pk])
    for answer in (operator.post(preview, form), operator.post(page_of(search), form)):
        assert answer.status_code == 200
        assert fault in answer.content.decode()
    search.refresh_from_db()
    assert not search.alias
    assert not search.arguments


def test_the_preview_shows_what_clients_will_be_listed(operator: Client, search: Definition) -> None:
    preview = reverse("admin:upstreams_definition_preview", args=[search.pk])
    page = operator.post(preview, posted(alias="find", described_as="Find it.", debug="hidden")).content.decode()
    assert "time__find" in page
    assert "Find it." in page
    assert "debug" not in page


def test_prompts_have_names_but_no_arguments_to_change(operator: Client, search: Definition) -> None:
    prompt = Definition.objects.get(kind="prompt")
    answer = operator.post(
        page_of(prompt), {"enabled": "on", "risk_override": "", "alias": "ask", "described_as": ""}
    )
    assert answer.status_code == 302, answer.context["errors"]
    prompt.refresh_from_db()
    assert prompt.public_name == "time__ask"
    prompt.arguments = {"x": HIDDEN}
    with pytest.raises(ValidationError, match="Only the arguments of tools"):
        prompt.full_clean()


def test_strangers_see_no_preview(stranger: Client, search: Definition) -> None:
    preview = reverse("admin:upstreams_definition_preview", args=[search.pk])
    assert stranger.post(preview, posted()).status_code == 404
