from datetime import timedelta

import pytest

from mcphub.accounts import hooks, selectors, services
from mcphub.accounts.models import ApiKey, Membership, Org, User
from mcphub.accounts.roles import MEMBER, OPERATOR, OWNER, VIEWER, Right, rights_of, role_names
from mcphub.core.clock import now
from mcphub.core.principal import KeyScope
from tests.accounts.conftest import People, membership


def labels(org: Org) -> set[str]:
    return {record.principal.label for record in selectors.key_records(str(org.pk))}


def test_a_personal_key_speaks_for_its_person(org: Org, people: People) -> None:
    Membership.objects.filter(user=people.viewer).update(attributes={"team": "blue", "email": "forged@example.org"})
    key = services.create_key(
        org, "laptop", user=people.viewer, upstreams=["git*"], tools=["list_*"], application="x"
    )
    (record,) = selectors.key_records(str(org.pk))
    principal = record.principal
    assert (principal.id, principal.kind, principal.label) == (
        f"user:{people.viewer.pk}",
        "person",
        people.viewer.email,
    )
    assert principal.roles == {"viewer"}
    assert principal.credential == key.row.public_id == record.public_id
    assert principal.scope == KeyScope(("git*",), ("list_*",))
    assert dict(principal.attributes) == {"team": "blue", "email": "viewer@example.org"}
    assert (principal.org.id, principal.org.slug) == (str(org.pk), "north")


@pytest.mark.requirement("S4")
def test_a_service_key_is_pinned_to_its_org_and_roles(org: Org, other: Org) -> None:
    key = services.create_key(org, "robot", roles=["viewer", "operator"])
    (record,) = selectors.key_records(str(org.pk))
    assert (record.principal.id, record.principal.kind) == (f"key:{key.row.pk}", "service")
    assert record.principal.roles == {"viewer", "operator"}
    assert record.principal.user_id is None
    assert selectors.key_records(str(other.pk)) == []


def test_pinned_roles_only_narrow_and_follow_the_person(org: Org, people: People) -> None:
    services.set_roles(membership(org, people.operator), ["operator", "viewer"])
    services.create_key(org, "narrow", user=people.operator, roles=["viewer", "owner"])
    (record,) = selectors.key_records(str(org.pk))
    assert record.principal.roles == {"viewer"}
    services.set_roles(membership(org, people.operator), ["operator"])
    (record,) = selectors.key_records(str(org.pk))
    assert record.principal.roles == frozenset()


@pytest.mark.requirement("S3")
def test_ended_keys_are_not_among_those_that_work(org: Org, people: People) -> None:
    services.create_key(org, "good", user=people.viewer)
    soon = now() + timedelta(seconds=90)
    services.create_key(org, "soon", roles=["viewer"], expires_at=soon)
    services.create_key(org, "past", roles=["viewer"], expires_at=now() - timedelta(seconds=1))
    services.revoke_key(services.create_key(org, "revoked", roles=["viewer"]).row)
    services.create_key(org, "disabled", user=people.member)
    services.set_active(people.member, False)
    services.create_key(org, "gone", user=people.operator)
    Membership.objects.filter(user=people.operator).delete()
    assert labels(org) == {"viewer@example.org", "soon"}
    assert {record.expires_at for record in selectors.key_records(str(org.pk))} == {None, soon.timestamp()}
    Org.objects.filter(pk=org.pk).update(enabled=False)
    assert labels(org) == set()


def test_a_disabled_org_is_not_listed(org: Org, other: Org) -> None:
    Org.objects.filter(pk=other.pk).update(enabled=False)
    assert set(selectors.org_versions()) == {str(org.pk)}
    assert set(selectors.orgs_by_slug()) == {"north"}


def test_principals_are_found_by_email_and_key_name(org: Org, people: People) -> None:
    services.create_key(org, "robot", roles=["operator"])
    found = selectors.principal_named(org.pk, "Viewer@example.org")
    assert found
    assert found.roles == {"viewer"}
    robot = selectors.principal_named(org.pk, "robot")
    assert robot
    assert robot.kind == "service"
    for unknown in ("stranger@example.org", "nobody", ""):
        assert selectors.principal_named(org.pk, unknown) is None


def test_rights_of_the_built_in_roles(org: Org) -> None:
    def rights(*roles: str) -> frozenset[Right]:
        return rights_of(str(org.pk), roles)

    assert rights(OWNER) == set(Right)
    assert rights(OPERATOR) == set(Right) - {Right.MANAGE_MEMBERS, Right.MANAGE_KEYS, Right.MANAGE_ORG}
    assert rights(VIEWER) == {Right.VIEW_CONFIG, Right.READ_AUDIT}
    assert rights(MEMBER) == rights("unheard-of") == rights() == frozenset()
    assert rights(VIEWER, OPERATOR) == rights(OPERATOR)


def test_own_roles_carry_what_their_app_says(org: Org, other: Org) -> None:
    def auditors(org_id: str, roles: frozenset[str]) -> list[str]:
        return ["read_audit", "no_such_right"] if org_id == str(org.pk) and "auditor" in roles else []

    def names(org_id: str) -> list[str]:
        return ["auditor"] if org_id == str(org.pk) else []

    hooks.role_rights.register(auditors)
    hooks.known_roles.register(names)
    try:
        assert rights_of(str(org.pk), ["auditor"]) == {Right.READ_AUDIT}
        assert rights_of(str(other.pk), ["auditor"]) == frozenset()
        assert "auditor" in role_names(str(org.pk))
        assert "auditor" not in role_names(str(other.pk))
    finally:
        hooks.role_rights._functions.remove(auditors)
        hooks.known_roles._functions.remove(names)


@pytest.mark.parametrize(
    ("who", "right", "has"),
    [
        ("owner", Right.MANAGE_MEMBERS, True),
        ("operator", Right.MANAGE_MEMBERS, False),
        ("operator", Right.MANAGE_UPSTREAMS, True),
        ("viewer", Right.VIEW_CONFIG, True),
        ("viewer", Right.MANAGE_UPSTREAMS, False),
        ("member", Right.VIEW_CONFIG, False),
        ("stranger", Right.VIEW_CONFIG, False),
        ("hub_admin", Right.MANAGE_MEMBERS, True),
    ],
)
def test_rights_in_an_org(org: Org, people: People, who: str, right: Right, has: bool) -> None:
    assert (str(org.pk) in selectors.orgs_with_right(people.named(who), right)) is has


def test_a_disabled_person_has_no_rights(org: Org, people: People) -> None:
    people.viewer.is_active = False
    assert selectors.rights_by_org(people.viewer) == {}


def test_a_key_moves_to_the_newest_ring_key_when_used(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    key = services.create_key(org, "ci", roles=["viewer"])
    ApiKey.objects.filter(pk=key.row.pk).update(digest_key_id="00000000", digest="0" * 64)
    services.rehash_key(str(key.row.pk), key.plain)
    again = ApiKey.objects.get(pk=key.row.pk)
    assert (again.digest, again.digest_key_id) == (key.row.digest, key.row.digest_key_id)
    assert User.objects.count() == 0
