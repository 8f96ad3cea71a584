"""What a request means as a call: nothing is reached by another spelling, and nothing hidden shows."""

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from msgspec import structs

from gateway.calls import READERS, Refused, decision_on, resources_read
from gateway.catalogue import Catalogue
from gateway.router import Reach
from gateway.snapshot import OrgSnapshot
from mcphub.core.principal import OrgRef, Principal
from policies.engine import RuleSet
from policies.types import Rule
from tests.gateway.test_views import entry
from tests.policies.build import rule, ruleset
from upstreams.shaping import Shape
from upstreams.types import ClientFacts, UpstreamSpec

ORG = OrgRef("org", "org")
SPEC = UpstreamSpec("id-a", ORG.id, "a", 1, "stdio")
ROUTES = [(False, ""), (False, "hub+a:"), (True, "")]
"""Everything at once by bare and by wrapped URI, and the upstream alone."""


def reach(*, alone: bool) -> Reach:
    usable = entry("a", "day://open", "resource"), entry("a", "{+any}", "template")
    snapshot = OrgSnapshot(
        ORG,
        1,
        (),
        ruleset(rule("allow", kinds=("resource", "template"))),
        MappingProxyType({SPEC.id: SPEC}),
        MappingProxyType({SPEC.slug: SPEC}),
        Catalogue(usable),
        off=frozenset({(SPEC.id, "note://closed")}),
        off_templates={SPEC.id: frozenset({"day://{day}"}), "id-b": frozenset({"{+any}"})},
    )
    principal = Principal("key:1", "service", "k", ORG, frozenset())
    return Reach(snapshot, principal, ClientFacts(), SPEC if alone else None)


@pytest.mark.parametrize(("alone", "prefix"), ROUTES)
@pytest.mark.parametrize("uri", ["note://closed", "day://monday"])
def test_switched_off_resource_or_template_cannot_be_read(alone: bool, prefix: str, uri: str) -> None:
    with pytest.raises(Refused, match=f"Unknown resource: {prefix.replace('+', '.')}{uri}"):
        resources_read({"uri": prefix + uri}, reach(alone=alone))


@pytest.mark.parametrize(("alone", "prefix"), ROUTES)
@pytest.mark.parametrize("uri", ["note://open", "day://open"])
def test_its_neighbours_stay_readable(alone: bool, prefix: str, uri: str) -> None:
    call = resources_read({"uri": prefix + uri}, reach(alone=alone))
    assert (call.spec, call.params["uri"]) == (SPEC, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "note://./closed",
        "note://x/../closed",
        "note://%63losed",
        "NOTE://closed",
        "note://closed/.",
        "x:..\\closed",
        "x://a/..",
        "x://a b",
        "x://a\x00",
    ],
)
@pytest.mark.parametrize(("alone", "prefix"), ROUTES)
def test_a_uri_that_a_server_would_resolve_to_another_one_is_unknown(alone: bool, prefix: str, uri: str) -> None:
    with pytest.raises(Refused, match="Unknown resource"):
        resources_read({"uri": prefix + uri}, reach(alone=alone))


@pytest.mark.parametrize(
    "uri", ["x://a%20b", "x://a/b..c", "x://a/.hidden", "x://a?next=../b", "file:///a%2Fb", "x:y"]
)
def test_a_uri_in_normal_form_is_not_in_the_way(uri: str) -> None:
    assert resources_read({"uri": uri}, reach(alone=True)).params["uri"] == uri


OPEN = ruleset(rule("allow", kinds=("tool", "prompt", "resource", "template")))
CLOSED = ruleset()


def tools(rules: RuleSet, **schema: object) -> Reach:
    """One tool `go` and one prompt `say` of the upstream `a`."""
    own = entry("a", "go", inputSchema=schema), entry("a", "say", "prompt")
    by_id, by_slug = MappingProxyType({SPEC.id: SPEC}), MappingProxyType({SPEC.slug: SPEC})
    snapshot = OrgSnapshot(ORG, 1, (), rules, by_id, by_slug, Catalogue(own), off=frozenset())
    return Reach(snapshot, Principal("key:1", "service", "k", ORG, frozenset()), ClientFacts())


@pytest.mark.parametrize("twin", ["Name", "NAME", "argumentſ", "Arguments", "URI", "Ref", "taskid", "_META"])
@pytest.mark.parametrize("method", sorted(READERS))
def test_a_member_that_some_parsers_take_for_the_decisive_one_is_refused(method: str, twin: str) -> None:
    params = {"name": "a__go", "uri": "note://open", "ref": {"type": "ref/prompt", "name": "a__say"}, twin: "other"}
    with pytest.raises(Refused, match="must be written"):
        READERS[method](params, tools(OPEN))


def test_the_ref_of_a_completion_is_read_as_strictly() -> None:
    ref = {"type": "ref/prompt", "name": "a__say", "Name": "hidden"}
    with pytest.raises(Refused, match="must be written"):
        READERS["completion/complete"]({"ref": ref}, tools(OPEN))


def test_unknown_members_travel_on() -> None:
    call = READERS["tools/call"]({"name": "a__go", "task": {"ttl": 1}, "x-own": 1}, tools(OPEN))
    assert call.params["task"] == {"ttl": 1}


def test_two_arguments_that_differ_only_in_case_need_a_tool_that_declares_both() -> None:
    params = {"name": "a__go", "arguments": {"path": "/open", "Path": "/etc/shadow"}}
    for declared in ({}, {"path": {}}, None):
        with pytest.raises(Refused, match="differ only in case"):
            READERS["tools/call"](params, tools(OPEN, properties=declared))
    assert READERS["tools/call"](params, tools(OPEN, properties={"path": {}, "Path": {}})).arguments["Path"]


MALFORMED = [
    ("tools/call", "a__go", {"name": "{}", "arguments": 5}),
    ("tools/call", "a__go", {"name": "{}", "arguments": {"a": 1, "A": 2}}),
    ("tools/call", "a__go", {"name": "{}", "Name": "x"}),
    ("prompts/get", "a__say", {"name": "{}", "arguments": "x"}),
    ("completion/complete", "a__say", {"ref": {"type": "ref/prompt", "name": "{}"}, "argument": 5}),
    ("completion/complete", "a__say", {"ref": {"type": "ref/prompt", "name": "{}", "URI": 1}}),
]


@pytest.mark.parametrize(("method", "name", "params"), MALFORMED)
def test_f52_no_malformed_request_tells_hidden_from_absent(method: str, name: str, params: dict[str, object]) -> None:
    def answered(named: str) -> str:
        try:
            call = READERS[method](json.loads(json.dumps(params).replace("{}", named)), tools(CLOSED))
        except Refused as refused:
            return str(refused).replace(named, "N")
        return f"Unknown {'prompt' if call.target.kind == 'prompt' else 'tool'}: N"  # what the pipeline says to it

    assert answered(name) == answered("absent")


def renamed(rules: RuleSet) -> Reach:
    """`go` of `a` is called `run`, limited to one page with a fixed scope; a later `run` of the server made way."""
    shape = Shape(
        alias="run", defaults={"page": 1}, fixed={"scope": "own"}, hidden=frozenset({"debug"}), declared=DECLARED
    )
    schema = {"properties": {"page": {}, "q": {}}}
    first = replace(entry("a", "go", inputSchema=schema), public="a__run", called="run", former="a__go", shape=shape)
    later = replace(entry("a", "run"), public="a__run_0", called="run_0", former="a__run")
    by_id, by_slug = MappingProxyType({SPEC.id: SPEC}), MappingProxyType({SPEC.slug: SPEC})
    snapshot = OrgSnapshot(ORG, 1, (), rules, by_id, by_slug, Catalogue([first, later]), off=frozenset())
    return Reach(snapshot, Principal("key:1", "service", "k", ORG, frozenset()), ClientFacts())


DECLARED = frozenset({"page", "q", "scope", "debug"})


@pytest.mark.requirement("N4", "U14")
@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("a__run", "go"),
        ("a__go", "go"),
        ("go", "go"),
        ("a__run_0", "run"),
        ("run_0", "run"),
        ("run", None),  # two are called so: nobody guesses which
    ],
)
def test_a_renamed_tool_and_the_one_that_made_way(name: str, reached: str | None) -> None:
    if reached is None:
        with pytest.raises(Refused, match="Unknown tool: run"):
            READERS["tools/call"]({"name": name}, renamed(OPEN))
    else:
        call = READERS["tools/call"]({"name": name}, renamed(OPEN))
        assert (call.target.name, call.params["name"]) == (reached, reached)


def test_on_its_upstreams_own_route_an_alias_means_what_it_meant() -> None:
    alone = structs.replace(renamed(OPEN), only=SPEC)
    assert READERS["tools/call"]({"name": "run"}, alone).target.name == "go"
    assert READERS["tools/call"]({"name": "run_0"}, alone).target.name == "run"


@pytest.mark.parametrize(
    ("rules", "given", "effect"),
    [
        ([], {}, "allow"),
        ([], {"q": "x", "page": 2}, "allow"),
        ([], {"scope": "all"}, "deny"),
        ([], {"scope": "own"}, "deny"),
        ([], {"Scope": "all"}, "deny"),
        ([], {"debug": True}, "deny"),
        ([rule("deny", priority=1, condition="arguments.scope == 'own'")], {}, "deny"),
        ([rule("deny", priority=1, condition="arguments.page > 1")], {}, "allow"),
        ([rule("deny", priority=1, condition="arguments.page > 1")], {"page": 2}, "deny"),
        ([rule("ask", priority=1, tools=("go",))], {}, "ask"),
        ([rule("deny", priority=1, tools=("run",))], {}, "allow"),
    ],
)
def test_policy_judges_what_the_upstream_will_get(rules: list[Rule], given: dict[str, Any], effect: str) -> None:
    reach = renamed(ruleset(*rules, rule("allow", priority=500)))
    call = READERS["tools/call"]({"name": "a__run", "arguments": given}, reach)
    assert decision_on(call, reach).effect == effect
    if effect == "allow":
        assert call.arguments == call.params["arguments"] == {"page": 1, "scope": "own", **given}


def test_f52_a_hidden_tool_says_nothing_of_arguments_that_are_set() -> None:
    reach = renamed(CLOSED)
    call = READERS["tools/call"]({"name": "a__run", "arguments": {"scope": "all"}}, reach)
    assert decision_on(call, reach).effect == "deny"
    assert not reach.shows(call.target)
