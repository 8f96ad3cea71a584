import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connections, transaction

from audit.models import AuditEvent
from mcphub.accounts import hooks, selectors, services
from mcphub.accounts.acts import person
from mcphub.accounts.models import ApiKey, Org, User
from mcphub.accounts.services import Absent, Exists, LastOwner, Refused
from mcphub.core import tokens
from mcphub.core.clock import now
from tests.accounts.conftest import People, membership


def acts(org: Org) -> list[tuple[str, str]]:
    return list(AuditEvent.objects.filter(org_id=str(org.pk), kind="act").values_list("method", "name"))


@pytest.fixture
def ended() -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []

    def note(org_id: str, user_id: str) -> None:
        seen.append((org_id, user_id))

    hooks.on_membership_ended.register(note)
    yield seen
    hooks.on_membership_ended._functions.remove(note)


@pytest.mark.parametrize("slug", ["", "x", "North", "no_underscore", "-north", "north-", "a" * 33, "admin", "mcp"])
def test_bad_and_reserved_slugs_are_refused(db: None, slug: str) -> None:
    with pytest.raises(Refused):
        services.create_org(slug)


def test_taken_names_are_refused(org: Org, people: People) -> None:
    with pytest.raises(Exists):
        services.create_org("north")
    with pytest.raises(Exists):
        services.create_user("  OWNER@Example.org ")
    with pytest.raises(Exists):
        services.add_member(org, people.owner, ["viewer"])
    with pytest.raises(Refused):
        services.create_user("not an address")


@pytest.mark.requirement("T3")
def test_the_last_owner_stays(org: Org, people: People) -> None:
    owner = membership(org, people.owner)
    for change in (
        lambda: services.set_roles(owner, ["viewer"]),
        lambda: services.remove_member(owner),
        lambda: services.set_active(people.owner, False),
    ):
        with pytest.raises(LastOwner), transaction.atomic():
            change()
    services.set_roles(membership(org, people.member), ["owner"])
    services.set_roles(owner, ["viewer"])
    assert membership(org, people.owner).roles == ["viewer"]


def test_a_disabled_owner_does_not_count(org: Org, people: People) -> None:
    services.set_roles(membership(org, people.member), ["owner"])
    services.set_active(people.member, False)
    with pytest.raises(LastOwner):
        services.remove_member(membership(org, people.owner))


@pytest.mark.requirement("T3")
@pytest.mark.django_db(transaction=True)
def test_two_owners_who_leave_at_once_do_not_both_leave() -> None:
    org = services.create_org("north")
    owners = [services.create_user(f"o{n}@example.org") for n in range(2)]
    for owner in owners:
        services.add_member(org, owner, ["owner"])
    start, outcomes = threading.Barrier(2), []

    def leave(user: User) -> None:
        start.wait()
        try:
            services.remove_member(membership(org, user))
            outcomes.append("left")
        except LastOwner:
            outcomes.append("kept")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=leave, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["kept", "left"]


@pytest.mark.requirement("T4")
def test_removal_ends_the_keys_of_that_member_only(
    org: Org, other: Org, people: People, ended: list[tuple[str, str]]
) -> None:
    services.add_member(other, people.member, ["member"])
    here = services.create_key(org, "laptop", user=people.member).row
    there = services.create_key(other, "laptop", user=people.member).row
    robot = services.create_key(org, "robot", roles=["viewer"]).row
    services.remove_member(membership(org, people.member))
    assert {record.id for record in selectors.key_records(str(org.pk))} == {str(robot.pk)}
    assert {record.id for record in selectors.key_records(str(other.pk))} == {str(there.pk)}
    assert ApiKey.objects.get(pk=here.pk).revoked_at
    assert ended == [(str(org.pk), str(people.member.pk))]


@pytest.mark.requirement("S3")
def test_a_key_is_shown_once_and_kept_as_a_hash(org: Org, people: People) -> None:
    made = services.create_key(org, "laptop", user=people.member)
    row = ApiKey.objects.values().get(pk=made.row.pk)
    secret = made.plain.rsplit("_", 1)[1]
    assert secret not in str(row)
    assert secret not in repr(made)
    assert tokens.matches(made.plain, row["digest"], row["digest_key_id"])


def test_key_names_are_free_again_after_revoking(org: Org) -> None:
    first = services.create_key(org, "ci", roles=["viewer"]).row
    with pytest.raises(Exists):
        services.create_key(org, "ci", roles=["viewer"])
    services.revoke_key(first)
    services.create_key(org, "ci", roles=["viewer"])
    with pytest.raises(Absent):
        services.revoke_key(first)


@pytest.mark.parametrize(
    "make",
    [
        lambda org, people: services.create_key(org, "k", roles=["nonsense"]),
        lambda org, people: services.create_key(org, "k"),
        lambda org, people: services.create_key(org, " ", roles=["viewer"]),
        lambda org, people: services.create_key(org, "k", user=people.stranger),
        lambda org, people: services.add_member(org, people.stranger, ["nonsense"]),
        lambda org, people: services.add_member(org, people.stranger, []),
    ],
)
def test_unknown_roles_and_strangers_get_no_key(
    org: Org, people: People, make: Callable[[Org, People], object]
) -> None:
    with pytest.raises(Refused):
        make(org, people)
    assert not ApiKey.objects.exists()


@pytest.mark.requirement("S3")
def test_a_literal_key_is_made_once_and_follows_its_setting(org: Org) -> None:
    first = services.ensure_literal_key(org, "a literal of some length", "admin")
    assert services.ensure_literal_key(org, "a literal of some length", "admin").pk == first.pk
    second = services.ensure_literal_key(org, "another literal of length", "admin")
    works = selectors.key_records(str(org.pk))
    assert [(record.id, record.principal.roles) for record in works] == [(str(second.pk), {"owner"})]
    services.revoke_key(second)
    again = services.ensure_literal_key(org, "another literal of length", "admin")
    assert [record.id for record in selectors.key_records(str(org.pk))] == [str(again.pk)]


def test_a_literal_cannot_be_shared_by_two_orgs(org: Org, other: Org) -> None:
    mine = services.ensure_literal_key(org, "a literal of some length", "admin")
    with pytest.raises(Exists):
        services.ensure_literal_key(other, "a literal of some length", "admin")
    assert [record.id for record in selectors.key_records(str(org.pk))] == [str(mine.pk)]


def test_every_change_is_on_record_with_before_and_after(org: Org, people: People) -> None:
    by = person(people.owner, "192.0.2.7")
    services.set_roles(membership(org, people.member), ["operator", "viewer"], by=by)
    key = services.create_key(org, "ci", roles=["viewer"], by=by).row
    services.revoke_key(key, by=by)
    services.remove_member(membership(org, people.member), by=by)
    assert acts(org)[-4:] == [
        ("member.set_roles", "member@example.org"),
        ("api_key.create", "ci"),
        ("api_key.revoke", "ci"),
        ("member.remove", "member@example.org"),
    ]
    event = AuditEvent.objects.get(org_id=str(org.pk), method="member.set_roles")
    assert (event.principal, event.principal_id) == ("owner@example.org", f"user:{people.owner.pk}")
    assert event.source == "192.0.2.7"


def test_a_refused_change_leaves_no_record(org: Org, people: People) -> None:
    before = len(acts(org))
    with pytest.raises(LastOwner):
        services.remove_member(membership(org, people.owner))
    assert len(acts(org)) == before


def test_last_use_is_written_at_most_once_a_minute(org: Org) -> None:
    key = services.create_key(org, "ci", roles=["viewer"]).row
    version = Org.objects.get(pk=org.pk).config_version
    selectors.touch_key(str(key.pk), "192.0.2.1")
    selectors.touch_key(str(key.pk), "192.0.2.2")
    assert ApiKey.objects.get(pk=key.pk).last_used_from == "192.0.2.1"
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=now() - timedelta(seconds=61))
    selectors.touch_key(str(key.pk), "192.0.2.3")
    assert ApiKey.objects.get(pk=key.pk).last_used_from == "192.0.2.3"
    assert Org.objects.get(pk=org.pk).config_version == version
