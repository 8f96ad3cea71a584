import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEvent
from mcphub.accounts import selectors
from mcphub.accounts.models import ApiKey, Membership, Org, User
from mcphub.core import tokens


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue().strip()


def code(*words: str) -> int:
    with pytest.raises(CommandError) as caught:
        run(*words)
    assert str(caught.value)
    return caught.value.returncode


@pytest.fixture(autouse=True)
def default_org(db: None) -> Org:
    run("create_org", "default", "--name", "Default")
    return Org.objects.get()


@pytest.mark.requirement("X18")
def test_orgs(default_org: Org) -> None:
    assert default_org.name == "Default"
    assert code("create_org", "default") == 3
    assert code("create_org", "Not A Slug") == 1
    assert "already" in run("create_org", "default", "--if-absent")
    found = json.loads(run("create_org", "default", "--if-absent", "--json"))
    assert found == {"id": str(default_org.pk), "slug": "default", "name": "Default", "created": False}


@pytest.mark.requirement("X18")
def test_a_person_gets_a_one_time_link() -> None:
    made = json.loads(run("create_user", "ann@example.org", "--org", "default", "--role", "owner", "--json"))
    assert "/set-password/" in made["link"]
    assert Membership.objects.get(user__email="ann@example.org").roles == ["owner"]
    assert code("create_user", "Ann@example.org") == 3
    again = json.loads(run("create_user", "Ann@example.org", "--org", "default", "--if-absent", "--json"))
    assert (again["created"], again["joined"], again["link"]) == (False, False, "")


def test_a_refused_person_is_not_half_made() -> None:
    assert code("create_user", "ann@example.org", "--org", "nowhere") == 1
    assert code("create_user", "ann@example.org", "--org", "default", "--role", "nonsense") == 1
    assert code("create_user", "ann@example.org", "--role", "owner") == 2
    assert code("create_user", "nonsense") == 1
    assert not User.objects.exists()


@pytest.mark.requirement("X18")
def test_a_key_is_printed_once(default_org: Org) -> None:
    plain = run("create_key", "ci", "--role", "viewer", "--upstreams", "git*,time", "--expires-days", "1")
    (record,) = selectors.key_records(str(default_org.pk))
    assert tokens.matches(plain, record.digest, record.digest_key_id)
    assert record.principal.scope.upstreams == ("git*", "time")
    assert record.expires_at
    assert datetime.fromtimestamp(record.expires_at, UTC) - datetime.now(UTC) < timedelta(days=1)
    assert code("create_key", "ci", "--role", "viewer") == 3
    assert plain not in run("create_key", "ci", "--role", "viewer", "--if-absent")
    assert json.loads(run("create_key", "ci", "--role", "viewer", "--if-absent", "--json"))["created"] is False


def test_a_persons_key(default_org: Org) -> None:
    run("create_user", "ann@example.org", "--org", "default", "--role", "operator")
    made = json.loads(run("create_key", "laptop", "--user", "Ann@example.org", "--json"))
    assert made["key"].startswith("mcph_")
    (record,) = selectors.key_records(str(default_org.pk))
    assert (record.principal.label, record.principal.roles) == ("ann@example.org", {"operator"})


@pytest.mark.parametrize(
    "words",
    [("ci",), ("ci", "--role", "x"), ("ci", "--user", "a@b.c"), ("ci", "--org", "nowhere", "--role", "owner")],
)
def test_refused_keys(words: tuple[str, ...]) -> None:
    assert code("create_key", *words) == 1
    assert not ApiKey.objects.exists()


@pytest.mark.requirement("X18")
def test_revoking(default_org: Org) -> None:
    run("create_key", "ci", "--role", "viewer")
    run("revoke_key", "ci")
    assert selectors.key_records(str(default_org.pk)) == []
    assert code("revoke_key", "ci") == 3
    assert json.loads(run("revoke_key", "ci", "--if-absent", "--json")) == {
        "name": "ci",
        "org": "default",
        "revoked": False,
    }


def test_wrong_usage_is_code_2() -> None:
    with pytest.raises(CommandError):
        run("create_key")


def test_commands_are_on_record() -> None:
    run("create_key", "ci", "--role", "viewer")
    acts = AuditEvent.objects.filter(kind="act").values_list("method", "principal")
    assert list(acts) == [("org.create", "command line"), ("api_key.create", "command line")]
