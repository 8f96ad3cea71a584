from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from mcphub.accounts.models import Org
from tests.upstreams.conftest import tool, version_of
from upstreams.models import Upstream
from upstreams.selectors import config_fault, due, org_health, org_upstreams
from upstreams.services import mark_refresh_due, mark_restart_due, record_state, store_catalogue, take_refresh
from upstreams.types import ServerFacts

MakeUpstream = Callable[..., Upstream]


@pytest.mark.requirement("U6")
def test_specification_has_secrets_opened_and_variables_filled_in(org: Org, make_upstream: MakeUpstream) -> None:
    make_upstream(
        url="https://${HOST}/mcp",
        headers={"Authorization": "Bearer ${TOKEN}"},
        variables={"HOST": "up.example", "TOKEN": "s3cret"},
        call_s=7,
        heartbeat_s=0,
    )
    (spec,) = org_upstreams(org)
    assert spec.url == "https://up.example/mcp"
    assert spec.headers == {"Authorization": "Bearer s3cret"}
    assert (spec.call_s, spec.heartbeat_s, spec.connect_s, spec.sharing) == (7, 0, 5, "per-user")
    assert "s3cret" not in repr(spec)


@pytest.mark.requirement("U6")
def test_data_dir_is_a_folder_of_the_upstream_itself(
    org: Org, make_upstream: MakeUpstream, settings: Settings, tmp_path: Path
) -> None:
    settings.HUB = settings.HUB.model_copy(update={"data_dir": tmp_path})
    row = make_upstream(transport="stdio", url="", command="run", env={"FILE": "${DATA_DIR}/x"})
    (spec,) = org_upstreams(org)
    assert spec.env["FILE"] == f"{tmp_path}/upstreams/{row.pk}/x"
    assert (tmp_path / "upstreams" / str(row.pk)).stat().st_mode & 0o777 == 0o700
    assert spec.sharing == "shared"


@pytest.mark.requirement("U20")
def test_unusable_upstream_is_left_out_with_its_reason_and_spares_the_others(
    org: Org, make_upstream: MakeUpstream
) -> None:
    bad = make_upstream("bad", url="https://${NOWHERE}/mcp")
    make_upstream("good")
    assert [spec.slug for spec in org_upstreams(org)] == ["good"]
    assert "NOWHERE" in config_fault(bad)
    assert {row.slug: bool(row.fault) for row in org_health(org)} == {"bad": True, "good": False}


@pytest.mark.requirement("U5")
def test_secret_in_a_command_keeps_it_from_being_started(org: Org, make_upstream: MakeUpstream) -> None:
    row = make_upstream(
        transport="stdio", url="", command="run", args=["--key=${API_KEY}"], variables={"API_KEY": "canary"}
    )
    assert list(org_upstreams(org)) == []
    assert "variable of the environment" in config_fault(row)
    assert "canary" not in config_fault(row)


def test_commands_that_are_not_allowed_are_not_started(
    org: Org, make_upstream: MakeUpstream, settings: Settings
) -> None:
    row = make_upstream(transport="stdio", url="", command="run")
    settings.HUB = settings.HUB.model_copy(update={"allow_stdio": False})
    assert org_upstreams(org) == []
    assert "MCPHUB_ALLOW_STDIO" in config_fault(row)


@pytest.mark.requirement("U10")
def test_switched_off_upstreams_and_orgs_are_not_called(org: Org, make_upstream: MakeUpstream) -> None:
    make_upstream("off", enabled=False)
    make_upstream("on")
    assert [spec.slug for spec in org_upstreams(org)] == ["on"]
    Org.objects.update(enabled=False)
    assert org_upstreams(org) == []


def test_revision_rises_with_what_a_connection_is_made_from(upstream: Upstream) -> None:
    for change, expected in (({"name": "Other", "call_s": 9.0}, 1), ({"headers": {"X-A": "1"}}, 2), ({}, 2)):
        row = Upstream.objects.get(pk=upstream.pk)
        for name, value in change.items():
            setattr(row, name, value)
        row.save()
        assert Upstream.objects.get(pk=upstream.pk).revision == expected
    row.url = "https://elsewhere.example/mcp"
    row.save(update_fields=["url"])
    assert Upstream.objects.get(pk=upstream.pk).revision == 3


@pytest.mark.requirement("U17")
def test_state_keeps_facts_the_last_error_and_no_secret(org: Org, make_upstream: MakeUpstream) -> None:
    row = make_upstream(headers={"Authorization": "Bearer tok-123456"})
    before = version_of(org)
    facts = ServerFacts("handshake", "2025-11-25", {"tools": {}}, {"name": "time\0", "x": "\ud800"}, "Be kind.")
    record_state(row.pk, "up", facts=facts, worker="w1")
    record_state(row.pk, "down", error="It said tok-123456.", stderr_tail="boom tok-123456\n")
    row.state.refresh_from_db()
    assert (row.state.state, row.state.era, row.state.protocol, row.state.worker) == (
        "down",
        "handshake",
        "2025-11-25",
        "w1",
    )
    assert row.state.server_info == {"name": "time", "x": "?"}
    assert (row.state.last_error, row.state.stderr_tail) == ("It said •••.", "boom •••\n")
    assert row.state.last_ok_at
    assert version_of(org) == before


def test_since_moves_only_when_the_state_changes(upstream: Upstream) -> None:
    record_state(upstream.pk, "up")
    upstream.state.refresh_from_db()
    first = upstream.state.since
    record_state(upstream.pk, "up")
    upstream.state.refresh_from_db()
    assert upstream.state.since == first


def test_due_work_is_taken_once(upstream: Upstream) -> None:
    mark_restart_due([upstream.pk])
    mark_refresh_due([upstream.pk])
    asked = due()
    key = str(upstream.pk)
    assert set(asked.refresh) == set(asked.restart) == {key}
    assert take_refresh(key, asked.refresh[key])
    assert not take_refresh(key, asked.refresh[key])
    assert not due().refresh
    mark_refresh_due([key])
    assert not take_refresh(key, asked.refresh[key])


def test_health_counts_the_tools_on_offer(org: Org, upstream: Upstream) -> None:
    store_catalogue(upstream.pk, "", {"tool": [tool("a"), tool("b")], "prompt": [{"name": "p"}]})
    store_catalogue(upstream.pk, "user:1", {"tool": [tool("a")]})
    store_catalogue(upstream.pk, "", {"tool": [tool("a")]})
    assert [row.tools for row in org_health(org)] == [1]
