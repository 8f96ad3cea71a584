"""Claims become roles: of people who signed in, for whoever may say so, and as the preview says."""

from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEvent
from mcphub.accounts.models import Membership, Org
from mcphub.accounts.selectors import person_principal, rights_by_org
from mcphub.accounts.social.entering import person_behind
from mcphub.accounts.social.identity import Identity, readable_claims
from policies.models import AttributeMapping
from tests.accounts.conftest import People, org, other, people

__all__ = ["org", "other", "people"]

BASE = "/api/v1/orgs/north/attribute-mappings"


def test_claims_inside_objects_are_named_by_their_path() -> None:
    raw = {
        "realm_access": {"roles": ["a"]},
        "iss": "x",
        "nonce": "y",
        "n": 3,
        "long": "x" * 501,
        "deep": {"sub": "s"},
    }
    assert readable_claims(raw) == {"realm_access.roles": ("a",), "deep.sub": "s"}


def mapping(client: Client, name: str, **values: Any) -> Any:
    return client.put(f"{BASE}/{name}", values, content_type="application/json")


@pytest.fixture
def owner(people: People) -> Client:
    client = Client()
    client.force_login(people.owner)
    return client


def arrive(**claims: Any) -> None:
    person_behind(Identity("oidc", "https://i", "s", "member@example.org", True, "", readable_claims(claims)))


@pytest.mark.requirement("S6")
def test_roles_follow_claims_at_sign_in_and_when_mappings_change(owner: Client, people: People, org: Org) -> None:
    arrive(groups=["eng"], contractor=True)
    assert rights_by_org(people.member)[str(org.pk)] == frozenset()
    assert mapping(owner, "engineers", claim="groups", values=["eng"], roles=["operator"]).status_code == 201
    assert "manage_policy" in rights_by_org(people.member)[str(org.pk)]
    principal = person_principal(people.member.pk, org.pk)
    assert principal is not None
    assert principal.roles == {"member", "operator"}
    assert (principal.attributes["groups"], principal.attributes["contractor"]) == (["eng"], True)
    arrive(groups=["sales"])
    assert Membership.objects.get(user=people.member, org=org).held_roles == {"member"}
    arrive(groups=["eng"])
    assert owner.delete(f"{BASE}/engineers").status_code == 204
    assert Membership.objects.get(user=people.member, org=org).held_roles == {"member"}
    acts = set(AuditEvent.objects.filter(kind="act").values_list("method", flat=True))
    assert acts >= {"attributemapping.create", "attributemapping.delete"}


def test_a_mapping_of_an_issuer_says_nothing_of_people(owner: Client, people: People, org: Org) -> None:
    mapping(owner, "tokens", claim="groups", values=["eng"], roles=["viewer"], sources=["okta"])
    arrive(groups=["eng"])
    assert Membership.objects.get(user=people.member, org=org).mapped_roles == []


@pytest.mark.requirement("S6")
def test_unknown_roles_are_refused_by_name(owner: Client, org: Org) -> None:
    answer = mapping(owner, "odd", claim="groups", values=["eng"], roles=["wizard"])
    assert answer.status_code == 422
    assert answer.json()["error"]["fields"] == [{"field": "roles", "message": "The org has no role wizard."}]
    assert not AttributeMapping.objects.exists()


def test_a_role_that_is_gone_gives_nothing(owner: Client, people: People, org: Org) -> None:
    owner.put("/api/v1/orgs/north/roles/temp", {"rights": []}, content_type="application/json")
    mapping(owner, "temps", claim="groups", values=["*"], roles=["temp"])
    assert owner.delete("/api/v1/orgs/north/roles/temp").status_code == 204
    arrive(groups=["eng"])
    assert Membership.objects.get(user=people.member, org=org).mapped_roles == []


def test_the_preview_says_what_claims_would_give(owner: Client, org: Org) -> None:
    mapping(owner, "engineers", claim="groups", values=["eng"], roles=["operator"])
    mapping(owner, "staff", claim="staff", values=["true"], roles=["viewer"])
    body = {"claims": {"groups": ["eng"], "staff": True}}
    answer = owner.post(f"{BASE}/preview", body, content_type="application/json")
    assert answer.json() == {"roles": ["operator", "viewer"], "mappings": ["engineers", "staff"]}


@pytest.mark.parametrize(("who", "status"), [("operator", 403), ("viewer", 403), ("member", 403), ("stranger", 404)])
def test_only_who_manages_members_maps(people: People, who: str, status: int) -> None:
    client = Client()
    client.force_login(people.named(who))
    assert mapping(client, "mine", claim="groups", values=["*"], roles=["owner"]).status_code == status


def test_the_form_previews_what_is_typed_and_saves_nothing(owner: Client, people: People, org: Org) -> None:
    arrive(groups=["eng"])
    page = owner.get("/admin/policies/attributemapping/add/").content.decode()
    assert "These claims give these roles" in page
    typed = {
        "org": str(org.pk),
        "name": "draft",
        "claim": "groups",
        "values": "eng",
        "roles": ["viewer"],
        "enabled": "on",
    }
    tried = owner.post("/admin/policies/attributemapping/preview/", {**typed, "claims": '{"groups": ["eng"]}'})
    assert "<code>viewer</code>" in tried.content.decode()
    assert not AttributeMapping.objects.exists()
    bad = owner.post("/admin/policies/attributemapping/preview/", {**typed, "claims": "{"})
    assert "not JSON" in bad.content.decode()
    assert owner.post("/admin/policies/attributemapping/add/", typed).status_code == 302
    assert Membership.objects.get(user=people.member, org=org).mapped_roles == ["viewer"]


def test_a_stranger_previews_nothing_of_another_org(people: People, org: Org) -> None:
    client = Client()
    client.force_login(people.stranger)
    typed = {"org": str(org.pk), "name": "x", "claim": "g", "values": "a", "roles": ["viewer"], "claims": "{}"}
    assert client.post("/admin/policies/attributemapping/preview/", typed).status_code == 404
