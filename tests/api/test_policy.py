"""Rules, grants and explanations over the API: what works, for whom, and that it is on record."""

from collections.abc import Callable
from typing import Any

import pytest

from audit.models import AuditEvent
from mcphub.accounts.declared.owned import own
from mcphub.accounts.models import Issuer, Org
from policies.models import AttributeMapping, Grant, Role, Rule
from tests.api.conftest import Api, People
from tests.policies.conftest import FILES, upstream
from upstreams.services import store_catalogue

ByKey = Callable[..., Api]

RULE = {"effect": "deny", "tools": ["delete_*"], "condition": "arguments.path != '/tmp'", "priority": 7}
ASKED = {"principal": "a key", "name": "files__delete_file"}


@pytest.fixture
def files(org: Org) -> Any:
    row = upstream(org, "files")
    store_catalogue(row.pk, "", FILES)
    return row


@pytest.mark.requirement("X1", "O3")
def test_rules_are_put_by_name(files: Any, by_key: ByKey) -> None:
    operator = by_key("operator")
    status, made = operator("PUT", "/orgs/north/rules/no deletes", RULE)
    assert (status, made["kinds"], made["touches"], made["warnings"]) == (201, ["tool"], 1, [])
    status, changed = operator("PUT", "/orgs/north/rules/no deletes", {"effect": "ask"})
    assert (status, changed["effect"], changed["tools"], changed["condition"]) == (200, "ask", [], "")
    operator("PUT", "/orgs/north/rules/first", {**RULE, "priority": -3})
    assert [rule["name"] for rule in operator("GET", "/orgs/north/rules")[1]["items"]] == ["first", "no deletes"]
    assert operator("GET", "/orgs/north/rules/first")[1]["priority"] == -3
    assert operator("DELETE", "/orgs/north/rules/no deletes") == (204, None)
    assert operator("GET", "/orgs/north/rules/no deletes")[0] == 404
    on_record = set(AuditEvent.objects.filter(kind="act").values_list("method", flat=True))
    assert on_record >= {"rule.create", "rule.change", "rule.delete"}


@pytest.mark.requirement("X7")
def test_what_belongs_to_a_file_is_changed_there(files: Any, org: Org, by_key: ByKey) -> None:
    owner = by_key("owner")
    bodies = {
        "rules/no deletes": (RULE, {"effect": "ask"}),
        "roles/triage": ({"rights": ["view_config"]}, {"rights": []}),
        "attribute-mappings/engineers": (
            {"claim": "groups", "values": ["engineering"], "roles": ["viewer"]},
            {"claim": "groups", "values": ["*"], "roles": ["viewer"]},
        ),
        "issuers/ci": (
            {"issuer": "https://ci.example.org", "audiences": ["hub"]},
            {"issuer": "https://ci.example.org", "audiences": ["other"]},
        ),
        "grants/viewer/files": ({"access": "all"}, {"access": "none"}),
    }
    models = (Rule, Role, AttributeMapping, Issuer, Grant)
    for (path, (first, second)), model in zip(bodies.items(), models, strict=True):
        assert owner("PUT", f"/orgs/north/{path}", first)[0] == 201
        own(org, model.objects.for_org(org).order_by("-pk").first(), path, path, "hub.yaml")
        for method, body in (("PUT", second), ("DELETE", None)):
            status, fault = owner(method, f"/orgs/north/{path}", body)
            assert (status, fault["error"]["code"]) == (422, "refused"), path
            assert "hub.yaml" in fault["error"]["message"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"condition": "arguments.x ="}, "Line 1, column 13"),
        ({"condition": "nobody == 1"}, "unknown name 'nobody'"),
        ({"condition": "arguments.x.matches('(')"}, "pattern"),
        ({"effect": "maybe"}, "effect"),
        ({"kinds": []}, "kinds"),
        ({"tools": [""]}, "tools"),
        ({"risks": ["odd"]}, "risks"),
        ({"prioritee": 3}, "prioritee"),
    ],
)
def test_what_cannot_hold_is_refused_with_the_place(
    files: Any, by_key: ByKey, changes: dict[str, Any], told: str
) -> None:
    status, body = by_key("owner")("PUT", "/orgs/north/rules/odd", {**RULE, **changes})
    assert status == 422
    assert told in str(body["error"])
    assert not Rule.objects.exists()


def test_a_rule_that_decides_nothing_is_saved_with_a_warning(files: Any, by_key: ByKey) -> None:
    made = by_key("owner")("PUT", "/orgs/north/rules/lost", {**RULE, "tools": ["no_such_tool"]})[1]
    assert made["warnings"] == ["It matches nothing that an upstream offers now."]


@pytest.mark.requirement("X1", "O2")
def test_grants_are_put_by_role_and_upstream(files: Any, by_key: ByKey) -> None:
    owner = by_key("owner")
    path = "/orgs/north/grants/viewer/files"
    given = {"access": "custom", "tools": {"tool": {"delete_file": True}}}
    assert owner("PUT", path, given) == (201, {"role": "viewer", "upstream": "files", **given})
    assert owner("PUT", path, {"access": "none"})[0] == 200
    assert owner("GET", path)[1]["tools"] == {}
    assert owner("GET", "/orgs/north/grants")[1]["items"] == [owner("GET", path)[1]]
    assert owner("PUT", "/orgs/north/grants/viewer/absent", given)[0] == 404
    assert owner("DELETE", path) == (204, None)
    assert not Grant.objects.exists()


@pytest.mark.requirement("O9")
def test_explain_says_why_and_who_can_change_it(files: Any, people: People, by_key: ByKey) -> None:
    operator = by_key("operator")
    operator("PUT", "/orgs/north/rules/no deletes", RULE)
    asked = {"principal": "owner@example.org", "name": "files__delete_file"}
    status, found = operator("POST", "/orgs/north/explain", {**asked, "arguments": {"path": "/etc"}})
    assert (status, found["effect"], found["why"], found["rule_name"]) == (200, "deny", "rule_denies", "no deletes")
    found = operator("POST", "/orgs/north/explain", {**asked, "arguments": {"path": "/tmp"}})[1]
    assert (found["effect"], found["needed"]) == ("allow", "")
    found = operator("POST", "/orgs/north/explain", {**asked, "arguments": {}})[1]
    assert (found["effect"], found["why"]) == ("deny", "cannot_evaluate")
    assert "a field is absent" in found["reason"]
    assert operator("POST", "/orgs/north/explain", asked)[1]["open_arguments"]
    assert operator("POST", "/orgs/north/explain", {**asked, "name": "absent"})[0] == 404
    assert operator("POST", "/orgs/north/explain", {**asked, "principal": "nobody"})[0] == 404


CALLS = [
    ("GET", "/rules", None),
    ("GET", "/rules/x", None),
    ("PUT", "/rules/x", RULE),
    ("DELETE", "/rules/x", None),
    ("GET", "/grants", None),
    ("PUT", "/grants/viewer/files", {"access": "all"}),
    ("DELETE", "/grants/viewer/files", None),
    ("POST", "/explain", ASKED),
]


@pytest.mark.parametrize(("method", "path", "data"), CALLS)
def test_strangers_find_nothing_and_members_may_not(
    files: Any, by_key: ByKey, by_session: Callable[[str], Api], method: str, path: str, data: Any
) -> None:
    Rule.objects.create(org=files.org, name="x", effect="deny")
    assert by_session("stranger")(method, f"/orgs/north{path}", data)[0] == 404
    assert by_key("member")(method, f"/orgs/north{path}", data)[0] == 403
    viewer = by_key("viewer")(method, f"/orgs/north{path}", data)[0]
    assert viewer == (403 if method in ("PUT", "DELETE") else 404 if path == "/explain" else 200)
