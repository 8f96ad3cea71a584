"""Every way to change a versioned row raises its org's version, in the same transaction."""

from collections.abc import Callable

import pytest
from django.db import transaction

from mcphub.accounts.models import ApiKey, Membership, Org, User
from mcphub.core.clock import now
from tests.core.conftest import Shelf, Vault


@pytest.fixture
def other(db: None) -> Org:
    return Org.objects.create(slug="south", name="South")


@pytest.fixture
def shelf(org: Org) -> Shelf:
    return Shelf.objects.create(org=org, label="a")


def version(org: Org) -> int:
    return Org.objects.values_list("config_version", flat=True).get(pk=org.pk)


def bulk_update(shelf: Shelf) -> None:
    shelf.label = "b"
    Shelf.objects.bulk_update([shelf], ["label"])


CHANGES: dict[str, Callable[[Shelf], object]] = {
    "save": lambda shelf: shelf.save(),
    "save of one column": lambda shelf: shelf.save(update_fields=["label"]),
    "delete": lambda shelf: shelf.delete(),
    "create": lambda shelf: Shelf.objects.create(org=shelf.org),
    "get_or_create": lambda shelf: Shelf.objects.get_or_create(org=shelf.org, label="new"),
    "update_or_create, made": lambda shelf: Shelf.objects.update_or_create(org=shelf.org, label="new"),
    "update_or_create, found": lambda shelf: Shelf.objects.update_or_create(pk=shelf.pk, defaults={"label": "b"}),
    "update": lambda shelf: Shelf.objects.filter(pk=shelf.pk).update(label="b"),
    "update out of its own filter": lambda shelf: Shelf.objects.filter(label="a").update(label="b"),
    "queryset delete": lambda shelf: Shelf.objects.filter(pk=shelf.pk).delete(),
    "bulk_create": lambda shelf: Shelf.objects.bulk_create([Shelf(org=shelf.org)]),
    "bulk_update": bulk_update,
    "related update": lambda shelf: shelf.org.shelf_set.update(label="b"),
    "m2m add": lambda shelf: shelf.vaults.add(Vault.objects.get()),
    "m2m reverse add": lambda shelf: Vault.objects.get().shelves.add(shelf),
}

REMOVALS: dict[str, Callable[[Shelf, Vault], object]] = {
    "remove": lambda shelf, vault: shelf.vaults.remove(vault),
    "clear": lambda shelf, vault: shelf.vaults.clear(),
    "reverse remove": lambda shelf, vault: vault.shelves.remove(shelf),
    "reverse clear": lambda shelf, vault: vault.shelves.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_raises_the_version_of_its_org_only(
    shelf: Shelf, other: Org, change: Callable[[Shelf], object]
) -> None:
    Vault.objects.create(org=shelf.org)
    before, elsewhere = version(shelf.org), version(other)
    change(shelf)
    assert version(shelf.org) > before
    assert version(other) == elsewhere


@pytest.mark.parametrize("change", REMOVALS.values(), ids=REMOVALS)
def test_taking_out_of_a_set_raises_the_version(shelf: Shelf, change: Callable[[Shelf, Vault], object]) -> None:
    vault = Vault.objects.create(org=shelf.org)
    shelf.vaults.add(vault)
    before = version(shelf.org)
    change(shelf, vault)
    assert version(shelf.org) > before


@pytest.mark.parametrize("bulk", [True, False])
def test_moving_a_row_raises_both_orgs(shelf: Shelf, other: Org, bulk: bool) -> None:
    before, there = version(shelf.org), version(other)
    if bulk:
        Shelf.objects.filter(org=shelf.org).update(org=other)
    else:
        moved = Shelf.objects.get(pk=shelf.pk)
        moved.org = other
        moved.save()
    assert version(shelf.org) > before
    assert version(other) > there


def test_unversioned_columns_raise_nothing(shelf: Shelf) -> None:
    before = version(shelf.org)
    Shelf.objects.filter(pk=shelf.pk).update(last_used_at=now())
    shelf.last_used_at = now()
    shelf.save(update_fields=["last_used_at"])
    assert version(shelf.org) == before


def test_a_change_that_is_rolled_back_leaves_the_version(shelf: Shelf) -> None:
    before = version(shelf.org)
    with transaction.atomic():
        shelf.save()
        assert version(shelf.org) > before
        transaction.set_rollback(True)
    assert version(shelf.org) == before


def test_a_stale_org_object_never_lowers_the_version(org: Org) -> None:
    stale = Org.objects.get(pk=org.pk)
    Shelf.objects.create(org=org)
    Shelf.objects.create(org=org)
    before = version(org)
    stale.name = "Renamed"
    stale.save()
    assert version(org) > before
    assert Org.objects.get(pk=org.pk).name == "Renamed"


PERSON_CHANGES: dict[str, Callable[[User], object]] = {
    "save": lambda user: user.save(),
    "disable in bulk": lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    "delete": lambda user: user.delete(),
    "delete in bulk": lambda user: User.objects.filter(pk=user.pk).delete(),
}


@pytest.mark.parametrize("change", PERSON_CHANGES.values(), ids=PERSON_CHANGES)
def test_a_changed_person_raises_the_version_of_their_orgs(
    org: Org, other: Org, change: Callable[[User], object]
) -> None:
    user = User.objects.create_user("ann@example.org")
    Membership.objects.create(org=org, user=user, roles=["member"])
    ApiKey.objects.create(org=org, user=user, name="k", public_id="p")
    before, elsewhere = version(org), version(other)
    change(user)
    assert version(org) > before
    assert version(other) == elsewhere


def test_signing_in_and_a_new_password_raise_nothing(org: Org) -> None:
    user = User.objects.create_user("ann@example.org")
    Membership.objects.create(org=org, user=user, roles=["member"])
    before = version(org)
    user.last_login = now()
    user.save(update_fields=["last_login"])
    User.objects.filter(pk=user.pk).update(last_login=now())
    assert version(org) == before


def test_rows_are_found_by_org_of_any_form(shelf: Shelf, other: Org) -> None:
    Shelf.objects.create(org=other)
    for form in (shelf.org, shelf.org.pk, str(shelf.org.pk)):
        assert list(Shelf.objects.for_org(form)) == [shelf]
