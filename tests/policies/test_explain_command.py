"""`explain` says the decision, the rule and who can change it, with exit codes to rely on."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from policies.models import Rule
from tests.policies.conftest import World

pytestmark = pytest.mark.requirement("O9")


def run(*options: str) -> str:
    out = io.StringIO()
    call_command("explain", "--org", "north", *options, stdout=out)
    return out.getvalue()


def test_explains_to_people(world: World) -> None:
    Rule.objects.create(
        org=world.org, name="zones", effect="deny", tools=["set_*"], condition="arguments.zone == 'X'"
    )
    text = run("--principal", "owner@example.org", "--tool", "time__set_time", "--arguments", '{"zone": "X"}')
    assert text.startswith("deny by zones: rule 'zones' denies this")
    assert "→ zones: its condition is true" in text
    assert "operator@example.org, owner@example.org" in text
    assert "give --arguments" in run("--principal", "owner@example.org", "--tool", "set_time")


def test_explains_to_programs(world: World) -> None:
    found = json.loads(run("--principal", "viewer@example.org", "--tool", "set_time", "--json"))
    assert (found["effect"], found["rule"], found["listed"]) == ("deny", "", False)
    assert found["target"] == {"kind": "tool", "upstream": "time", "name": "set_time", "risk": "write"}
    assert found["opened_for"] == ["operator", "owner"]


def test_a_service_key_is_named_by_its_name(world: World) -> None:
    from mcphub.accounts import services

    services.create_key(world.org, "ci", roles=["viewer"], upstreams=["files"])
    assert run("--principal", "ci", "--tool", "read_file").startswith("allow by role:viewer")
    assert run("--principal", "ci", "--tool", "get_time").startswith("deny by gate:out_of_scope")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--principal", "nobody@example.org", "--tool", "get_time"), 3),
        (("--principal", "stranger@example.org", "--tool", "get_time"), 3),
        (("--principal", "owner@example.org", "--tool", "nothing"), 3),
        (("--principal", "owner@example.org", "--tool", "get_time", "--arguments", "{"), 2),
        (("--principal", "owner@example.org", "--tool", "get_time", "--arguments", "[]"), 2),
        (("--principal", "owner@example.org", "--tool", "get_time", "--org", "nowhere"), 3),
    ],
)
def test_exit_codes(world: World, options: tuple[str, ...], code: int) -> None:
    with pytest.raises(CommandError) as caught:
        run(*options)
    assert caught.value.returncode == code
