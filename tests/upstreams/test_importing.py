import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcphub.accounts.models import Org
from tests.upstreams.conftest import tool
from upstreams.importing import renamed
from upstreams.models import Definition, Upstream
from upstreams.services import (
    ImportRefused,
    apply_import,
    plan_import,
    store_catalogue,
    sync_file,
)

MakeUpstream = Callable[..., Upstream]


def document(**servers: Any) -> str:
    return json.dumps({"mcpServers": servers})


@pytest.mark.requirement("U9")
def test_claude_desktop_file_becomes_upstreams(org: Org) -> None:
    text = document(
        time={"command": "python3", "args": ["-m", "mcp_server_time"], "env": {"TZ": "UTC", "DEBUG": True, "N": 3}},
        mcp_sse={"type": "sse", "url": "http://127.0.0.1:8001/sse", "headers": {"Authorization": "Bearer t"}},
        plain={"url": "https://up.example/mcp", "disabledTools": ["b"]},
        hub={
            "type": "http",
            "url": "https://up.example:8443/mcp",
            "disabled": True,
            "oauth": {"client_id": "c", "client_secret": "s", "scopes": ["a"]},
        },
    )
    rows = {row.name: row for row in apply_import(plan_import(org, text))}
    assert {name: (row.slug, row.transport) for name, row in rows.items()} == {
        "time": ("time", "stdio"),
        "mcp_sse": ("mcp-sse", "sse"),
        "plain": ("plain", "auto"),
        "hub": ("hub", "http"),
    }
    stored = {row.name: row for row in Upstream.objects.all()}
    assert stored["time"].env == {"TZ": "UTC", "DEBUG": "true", "N": "3"}
    assert stored["mcp_sse"].headers == {"Authorization": "Bearer t"}
    assert stored["mcp_sse"].path_alias == "mcp_sse"
    assert stored["plain"].disabled_tools == ["b"]
    assert not stored["hub"].enabled
    assert stored["hub"].oauth["client_secret"] == "s"
    assert all(row.egress_allow == [] for row in rows.values())


FAULTS = {
    "nothing": ({}, "mcpServers.nothing"),
    "both": ({"command": "a", "url": "https://b.example"}, "mcpServers.both"),
    "kind": ({"type": "carrier-pigeon", "url": "https://b.example"}, "mcpServers.kind.type"),
    "mismatch": ({"type": "sse", "command": "a"}, "mcpServers.mismatch.type"),
    "args": ({"command": "a", "args": "b"}, "mcpServers.args.args"),
    "arg": ({"command": "a", "args": ["b", {}]}, "mcpServers.arg.args[1]"),
    "env": ({"command": "a", "env": {"X": None}}, "mcpServers.env.env.X"),
    "header": ({"url": "https://b.example", "headers": {"a\r\nb": "c"}}, "mcpServers.header.headers.a\r\nb"),
    "value": ({"url": "https://b.example", "headers": {"a": "b\r\nc: d"}}, "mcpServers.value.headers.a"),
    "scheme": ({"url": "ftp://b.example"}, "mcpServers.scheme.url"),
    "port": ({"url": "http://b.example:99999"}, "mcpServers.port.url"),
    "password": ({"url": "http://u:p@b.example"}, "mcpServers.password.url"),
    "variable": ({"command": "a", "args": ["${NOWHERE}"]}, "mcpServers.variable.args[0]"),
    "number": ({"command": 3}, "mcpServers.number.command"),
    "oauth": ({"url": "https://b.example", "oauth": {"scopes": "a"}}, "mcpServers.oauth.oauth.scopes"),
    "list": ([], "mcpServers.list"),
    " ": ({"command": "a"}, "mcpServers. "),
}


@pytest.mark.requirement("U9")
def test_every_fault_is_named_with_its_place_and_nothing_is_applied(org: Org) -> None:
    plan = plan_import(org, document(good={"command": "a"}, **{name: entry for name, (entry, _) in FAULTS.items()}))
    assert sorted({fault.place for fault in plan.faults}) == sorted(place for _, place in FAULTS.values())
    with pytest.raises(ImportRefused):
        apply_import(plan)
    assert not Upstream.objects.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"mcpServers": {\n  "a": }', "line 2, column 8"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "“a” stands twice"),
        ("[]", "mcpServers"),
        ('{"servers": {}}', "mcpServers"),
        ('{"mcpServers": []}', "mcpServers"),
        ("", "line 1"),
        ("[" * 100_000, "nested"),
        (b"\xff", "UTF-8"),
        (" " * (1024 * 1024 + 1), "larger"),
    ],
)
def test_broken_documents_are_explained(org: Org, text: str, words: str) -> None:
    (fault,) = plan_import(org, text).faults
    assert words in str(fault)


@pytest.mark.requirement("N2")
def test_clashing_names_get_a_numbered_proposal(org: Org, make_upstream: MakeUpstream) -> None:
    make_upstream("time")
    text = document(time={"command": "a"}, Time={"command": "a"}, admin={"command": "a"}, my_time={"command": "a"})
    plan = plan_import(org, text)
    assert [(item.slug, item.renamed) for item in plan.upstreams] == [
        ("time-2", True),
        ("time-3", True),
        ("admin-2", True),
        ("my-time", False),
    ]
    assert [item.fields["path_alias"] for item in plan.upstreams] == ["", "Time", "", "my_time"]


@pytest.mark.requirement("U9")
def test_a_second_import_of_the_same_file_adds_nothing(org: Org) -> None:
    text = document(time={"command": "a", "env": {"A": "1"}})
    assert len(apply_import(plan_import(org, text))) == 1
    again = plan_import(org, text)
    assert [item.exists != "" for item in again.upstreams] == [True]
    assert apply_import(again) == []


@pytest.mark.requirement("U9")
def test_people_choose_which_ones_and_their_slugs(org: Org) -> None:
    plan = renamed(plan_import(org, document(a1={"command": "a"}, b1={"command": "b"})), {"b1": "bee"})
    assert [row.slug for row in apply_import(plan, chosen={"b1"})] == ["bee"]
    taken = renamed(plan_import(org, document(c1={"command": "c"}, d1={"command": "d"})), {"c1": "bee", "d1": "mcp"})
    assert [fault.place for fault in taken.faults] == ["mcpServers.c1", "mcpServers.d1"]


@pytest.mark.requirement("U6")
def test_variables_come_from_the_environment_but_never_the_hubs_own(org: Org) -> None:
    text = document(
        a1={"command": "${HOME}/x", "env": {"A": "${TOKEN}", "B": "${MCPHUB_SECRET_KEY}", "C": "${C:-c}"}}
    )
    plan = plan_import(org, text, environment={"TOKEN": "t", "MCPHUB_SECRET_KEY": "s", "C": "cc", "HOME": "/h"})
    assert [fault.place for fault in plan.faults] == ["mcpServers.a1.env.B"]
    assert plan.upstreams[0].fields["variables"] == {"TOKEN": "t", "C": "cc"}
    assert "'t'" not in repr(plan)


@pytest.mark.requirement("U5")
def test_secret_in_the_arguments_is_a_fault_that_names_the_environment(org: Org) -> None:
    text = document(a1={"command": "a", "args": ["--token", "${API_TOKEN}"]}, b1={"command": "b", "args": ["${D}"]})
    plan = plan_import(org, text, environment={"API_TOKEN": "canary", "D": "/srv"})
    assert [fault.place for fault in plan.faults] == ["mcpServers.a1.args[1]"]
    assert "environment" in plan.faults[0].text


@pytest.mark.requirement("U21")
def test_hosts_written_on_the_command_line_are_allowed_for_that_upstream(org: Org) -> None:
    text = document(
        a1={"url": "http://127.0.0.1:9/mcp"}, b1={"url": "https://[::1]/mcp"}, c1={"url": "http://${H}/mcp"}
    )
    plan = plan_import(org, text, environment={"H": "10.0.0.1:81"}, trust_hosts=True)
    assert [item.fields["egress_allow"] for item in plan.upstreams] == [
        ["127.0.0.1:9"],
        ["[::1]:443"],
        ["10.0.0.1:81"],
    ]


def test_unused_keys_and_missing_commands_are_warned_about(org: Org) -> None:
    plan = plan_import(org, document(a1={"command": "no-such-command", "cwd": "/tmp"}))
    assert not plan.faults
    assert {warning.place for warning in plan.warnings} == {"mcpServers.a1.command", "mcpServers.a1.cwd"}


@pytest.mark.requirement("X7")
def test_file_is_followed_through_additions_changes_and_removals(org: Org, tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    path.write_text(document(a1={"command": "a"}, b_1={"command": "b", "disabledTools": ["x"]}))
    first = sync_file(org, path)
    assert first.added == ("a1", "b-1")
    row = Upstream.objects.get(slug="b-1")
    assert row.source == str(path)
    store_catalogue(row.pk, "", {"tool": [tool("x"), tool("y")]})

    path.write_text(document(b_1={"command": "b2", "disabledTools": ["y"]}, c1={"command": "c"}))
    second = sync_file(org, path)
    assert (second.added, second.changed, second.removed) == (("c1",), ("b-1",), ("a1",))
    row.refresh_from_db()
    assert (row.command, row.revision, row.slug, row.path_alias) == ("b2", 2, "b-1", "b_1")
    assert {item.name: item.enabled for item in Definition.objects.all()} == {"x": True, "y": False}

    third = sync_file(org, path)
    assert (third.added, third.changed, third.removed) == ((), (), ())

    path.write_text(document(B_1={"command": "b2"}))
    fourth = sync_file(org, path)
    assert (fourth.added, fourth.removed) == (("b-1",), ("b-1", "c1"))


@pytest.mark.requirement("X7")
@pytest.mark.parametrize("text", ["{", document(a1={"command": "a"}, b1={})])
def test_bad_file_keeps_the_running_state(org: Org, tmp_path: Path, text: str) -> None:
    path = tmp_path / "servers.json"
    path.write_text(document(a1={"command": "a"}, b1={"command": "b"}))
    sync_file(org, path)
    path.write_text(text)
    assert sync_file(org, path).faults
    path.unlink()
    assert sync_file(org, path).faults
    assert Upstream.objects.count() == 2


def test_following_a_file_spares_rows_of_people_and_ends_those_of_another_file(
    org: Org, make_upstream: MakeUpstream, tmp_path: Path
) -> None:
    make_upstream("a1")
    path, other = tmp_path / "servers.json", tmp_path / "other.json"
    path.write_text(document(a1={"command": "a"}, b1={"command": "b"}))
    other.write_text(document(b1={"command": "b"}, z1={"command": "z"}))
    assert sync_file(org, path).added == ("a1-2", "b1")
    kept = Upstream.objects.get(slug="b1")
    report = sync_file(org, other)
    assert (report.added, report.changed, report.removed) == (("z1",), (), ("a1-2",))
    assert Upstream.objects.get(slug="b1", source=str(other)).pk == kept.pk
    assert set(Upstream.objects.values_list("slug", flat=True)) == {"a1", "b1", "z1"}
