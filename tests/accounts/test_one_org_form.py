"""A row never points into another org, also when its author holds rights in both."""

import pytest
from django.forms import modelform_factory

from mcphub.accounts.admin_base import OneOrgForm, org_path_of, rows_in
from mcphub.accounts.models import ApiKey, Org, User
from policies.models import Grant, Role
from tests.accounts.conftest import People
from upstreams.models import Upstream

GrantForm = modelform_factory(Grant, form=OneOrgForm, fields=("org", "role", "upstream", "access"))


@pytest.fixture
def role(org: Org) -> Role:
    return Role.objects.create(org=org, name="readers")


@pytest.fixture
def upstream(other: Org) -> Upstream:
    return Upstream.objects.create(org=other, slug="secret", name="Secret", transport="http", url="http://x.example/")


@pytest.mark.requirement("T6")
def test_a_grant_cannot_join_two_orgs(org: Org, other: Org, role: Role, upstream: Upstream) -> None:
    for place, wrong in ((org, "upstream"), (other, "role")):
        form = GrantForm({"org": place.pk, "role": role.pk, "upstream": upstream.pk, "access": "all"})
        assert not form.is_valid()
        assert "This belongs to another org." in form.errors[wrong]


def test_rows_of_an_org(org: Org, other: Org, people: People, role: Role) -> None:
    assert role in rows_in(Role, [str(org.pk)])
    assert role not in rows_in(Role, [str(other.pk)])
    assert set(rows_in(User, [str(other.pk)])) == {people.stranger}
    assert set(rows_in(Org, [str(org.pk)])) == {org}
    assert org_path_of(ApiKey) == "org"
