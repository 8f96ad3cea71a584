import json
from collections.abc import Callable

import pytest

from mcphub.accounts.models import Org
from mcphub.core.ids import new_uuid
from tests.upstreams.conftest import tool, version_of
from upstreams.models import CatalogueEntry, Definition, DefinitionVersion, Upstream
from upstreams.risk import Risk
from upstreams.selectors import org_catalogue
from upstreams.services import StoreReport, forget_holder, reclassify, store_catalogue

MakeUpstream = Callable[..., Upstream]


@pytest.mark.requirement("U12")
def test_stored_definitions_come_back_as_the_upstream_sent_them(org: Org, upstream: Upstream) -> None:
    raw = tool("b", x=None, big=10**30, _meta={"z": 1, "a": "é"}, title="B")
    store_catalogue(upstream.pk, "", {"tool": [raw], "resource": [{"uri": "file:///a", "name": "a"}]})
    resource, stored = org_catalogue(org)
    assert json.loads(stored.body) == raw
    assert list(json.loads(stored.body)) == list(raw)
    assert (stored.upstream_slug, stored.holder, stored.kind, stored.name) == ("time", "", "tool", "b")
    assert (resource.kind, resource.name, resource.risk) == ("resource", "file:///a", Risk.READ)


def test_equal_listing_changes_nothing_and_leaves_the_config_version(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("a"), tool("b")]})
    before = version_of(org)
    reordered = [{"inputSchema": {"type": "object"}, "name": "b"}, tool("a")]
    assert not store_catalogue(upstream.pk, "", {"tool": reordered}).differs
    assert version_of(org) == before


def test_report_names_what_was_added_changed_and_removed(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("a"), tool("b")]})
    before = version_of(org)
    report = store_catalogue(upstream.pk, "", {"tool": [tool("b", title="B"), tool("c")]})
    assert report == StoreReport((("tool", "c"),), (("tool", "b"),), (("tool", "a"),))
    assert version_of(org) > before
    assert [record.name for record in org_catalogue(org)] == ["b", "c"]


def test_kinds_that_were_not_listed_stay(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("a")], "prompt": [{"name": "p"}]})
    store_catalogue(upstream.pk, "", {"prompt": []})
    assert [record.kind for record in org_catalogue(org)] == ["tool"]


@pytest.mark.requirement("U13")
def test_switch_and_override_survive_rediscovery_and_absence(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("delete_all")]})
    Definition.objects.filter(name="delete_all").update(enabled=False, risk_override="admin")
    store_catalogue(upstream.pk, "", {"tool": []})
    store_catalogue(upstream.pk, "", {"tool": [tool("delete_all", title="new")]})
    (record,) = org_catalogue(org)
    assert (record.enabled, record.risk) == (False, Risk.ADMIN)


def test_every_version_stays_in_the_ledger(upstream: Upstream) -> None:
    for title in ("one", "two", "one"):
        store_catalogue(upstream.pk, "", {"tool": [tool("a", title=title)]})
    assert DefinitionVersion.objects.count() == 2
    current = Definition.objects.get().current
    assert current is not None
    assert json.loads(current.body)["title"] == "one"


@pytest.mark.requirement("U9")
def test_tools_named_as_disabled_start_switched_off(org: Org, make_upstream: MakeUpstream) -> None:
    row = make_upstream(disabled_tools=["b"])
    store_catalogue(row.pk, "", {"tool": [tool("a"), tool("b")], "prompt": [{"name": "b"}]})
    assert {(r.kind, r.name): r.enabled for r in org_catalogue(org)} == {
        ("tool", "a"): True,
        ("tool", "b"): False,
        ("prompt", "b"): True,
    }


def test_holders_have_their_own_references(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "user:1", {"tool": [tool("a"), tool("get_b")]})
    store_catalogue(upstream.pk, "user:2", {"tool": [tool("get_b", title="other")]})
    store_catalogue(upstream.pk, "user:1", {"tool": [tool("get_b")]})
    assert [(r.holder, r.name) for r in org_catalogue(org)] in (
        [("user:1", "get_b"), ("user:2", "get_b")],
        [("user:2", "get_b"), ("user:1", "get_b")],
    )
    assert len({r.digest for r in org_catalogue(org)}) == 2
    forget_holder("user:1")
    assert {r.holder for r in org_catalogue(org)} == {"user:2"}


BAD = [
    "text",
    {"inputSchema": {"type": "object"}},
    tool(""),
    tool("x" * 1025),
    tool("nul\0"),
    tool("lone\ud800"),
    {"name": "no-schema"},
    {"name": "string-schema", "inputSchema": {"type": "string"}},
    tool("number", description=3),
    tool("nan", x=float("nan")),
    tool("good"),
]


@pytest.mark.requirement("P8")
def test_bad_definition_costs_only_itself_and_is_named(org: Org, upstream: Upstream) -> None:
    report = store_catalogue(upstream.pk, "", {"tool": [tool("good"), *BAD]})
    assert [record.name for record in org_catalogue(org)] == ["good"]
    assert len(report.dropped) == len(BAD)
    upstream.state.refresh_from_db()
    assert [item["why"] for item in upstream.state.dropped] == [item.why for item in report.dropped]


def test_lone_surrogate_in_a_text_is_kept_as_an_escape(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("a", description="\ud800é\0")]})
    (record,) = org_catalogue(org)
    assert json.loads(record.body)["description"] == "\ud800é\0"


def test_deleted_upstream_is_an_empty_report(org: Org) -> None:
    assert store_catalogue(new_uuid(), "", {"tool": [tool("a")]}) == StoreReport()


@pytest.mark.requirement("U15")
def test_disabled_upstream_offers_nothing(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("a")]})
    Upstream.objects.filter(pk=upstream.pk).update(enabled=False)
    assert [record.enabled for record in org_catalogue(org)] == [False]


def test_trust_changes_the_class_of_what_is_stored(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("frobnicate", annotations={"readOnlyHint": True})]})
    assert [record.risk for record in org_catalogue(org)] == [Risk.WRITE]
    upstream.trusted = True
    upstream.save()
    before = version_of(org)
    reclassify(upstream)
    assert [record.risk for record in org_catalogue(org)] == [Risk.READ]
    assert version_of(org) > before


def test_another_org_sees_nothing(upstream: Upstream) -> None:
    stranger = Org.objects.create(slug="other", name="Other")
    store_catalogue(upstream.pk, "", {"tool": [tool("a")]})
    assert org_catalogue(stranger) == []


def test_deleting_an_upstream_takes_its_ledger_along(upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("a")]})
    upstream.delete()
    assert not Definition.objects.exists()
    assert not CatalogueEntry.objects.exists()


def test_a_thousand_tools_are_stored_in_a_few_queries(
    upstream: Upstream, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    listing = {"tool": [tool(f"tool_{number}", description="x" * 200) for number in range(1000)]}
    store_catalogue(upstream.pk, "", listing)
    with django_assert_max_num_queries(12):  # type: ignore[attr-defined]  # a context manager
        store_catalogue(upstream.pk, "", listing)
