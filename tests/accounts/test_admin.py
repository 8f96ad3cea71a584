"""The admin as an owner, an operator, a viewer, a member, a stranger and a hub admin meet it."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEvent, AuditPayload
from mcphub.accounts import selectors, services
from mcphub.accounts.models import ApiKey, Membership, Org, User
from tests.accounts.conftest import People, membership


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page(name: str, pk: Any = "", action: str = "change") -> str:
    return f"/admin/accounts/{name}/{pk}/{action}/" if pk else f"/admin/accounts/{name}/"


UNKNOWN = "01900000-0000-7000-8000-000000000000"


def without_token(answer: Any) -> str:
    return re.sub(r'csrfmiddlewaretoken" value="[^"]+"', "", answer.content.decode())


@pytest.fixture
def key(org: Org, people: People) -> ApiKey:
    return services.create_key(org, "north-robot", roles=["viewer"]).row


@pytest.fixture
def their_key(other: Org, people: People) -> ApiKey:
    return services.create_key(other, "south-robot", roles=["viewer"]).row


@pytest.mark.parametrize(
    ("who", "status"),
    [("owner", 200), ("operator", 200), ("viewer", 200), ("member", 302), ("stranger", 200), ("hub_admin", 200)],
)
def test_whoever_holds_a_right_may_open_the_admin(people: People, who: str, status: int) -> None:
    assert as_(people.named(who)).get("/admin/").status_code == status


def test_signing_in_goes_through_the_hubs_own_page(client: Client, people: People) -> None:
    answer = client.get("/admin/accounts/apikey/", follow=True)
    assert answer.redirect_chain[-1][0] == "/sign-in/?next=/admin/accounts/apikey/"
    posted = client.post("/admin/login/?next=/admin/", {"username": "owner@example.org", "password": "x"})
    assert posted["Location"] == "/sign-in/?next=/admin/"
    assert as_(people.member).get("/admin/", follow=True).status_code == 403


def test_signing_out_of_the_admin_is_a_post(people: People) -> None:
    client = as_(people.owner)
    client.get("/admin/logout/")
    assert client.get("/admin/").status_code == 200
    client.post("/admin/logout/")
    assert client.get("/admin/").status_code == 302


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("who", ["owner", "viewer", "operator"])
def test_lists_and_filters_show_own_orgs_only(people: People, key: ApiKey, their_key: ApiKey, who: str) -> None:
    client = as_(people.named(who))
    for name in ("apikey", "membership", "org"):
        body = client.get(page(name)).content.decode()
        assert "north" in body
        assert "south" not in body
        assert "stranger@example.org" not in body


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("action", ["change", "delete", "history"])
def test_another_orgs_ids_answer_as_unknown_ones(people: People, other: Org, their_key: ApiKey, action: str) -> None:
    client = as_(people.owner)
    theirs = membership(other, people.stranger)
    ids = {"apikey": their_key.pk, "membership": theirs.pk, "org": other.pk, "user": people.stranger.pk}
    for name, pk in ids.items():
        foreign, absent = client.get(page(name, pk, action)), client.get(page(name, UNKNOWN, action))
        assert foreign.status_code == absent.status_code
        assert foreign.status_code in {403, 404}
        assert without_token(foreign).replace(str(pk), UNKNOWN) == without_token(absent)
        assert client.post(page(name, pk, action), {"post": "yes"}).status_code in {403, 404}
    assert Membership.objects.filter(pk=theirs.pk).exists()


@pytest.mark.parametrize("lookup", ["org__slug=south", "digest__startswith=a", "user__password__startswith=a"])
def test_filters_typed_into_the_address_find_out_nothing(people: People, key: ApiKey, lookup: str) -> None:
    answer = as_(people.owner).get(page("apikey") + "?" + lookup, follow=True)
    assert "south" not in answer.content.decode().replace("org__slug=south", "")
    assert answer.status_code in {200, 400}
    if "password" in lookup or "digest" in lookup:
        assert answer.status_code == 400


def test_a_viewer_sees_and_changes_nothing(org: Org, people: People, key: ApiKey) -> None:
    client = as_(people.viewer)
    assert client.get(page("apikey", key.pk)).status_code == 200
    assert client.post(page("apikey", key.pk), {"name": "renamed"}).status_code == 403
    assert client.get("/admin/accounts/apikey/add/").status_code == 403
    client.post(page("apikey"), {"action": "revoke", "_selected_action": [str(key.pk)]})
    key.refresh_from_db()
    assert (key.name, key.revoked_at) == ("north-robot", None)


def test_people_of_the_installation_are_for_hub_admins(people: People) -> None:
    assert as_(people.owner).get(page("user")).status_code == 403
    assert "stranger@example.org" in as_(people.hub_admin).get(page("user")).content.decode()


def key_form(org: Org, **more: Any) -> dict[str, Any]:
    return {"org": str(org.pk), "name": "ci", "holder": "service", "roles": ["viewer"], **more}


@pytest.mark.requirement("S3")
@pytest.mark.requirement("D12")
def test_a_new_key_is_shown_once_and_nowhere_else(org: Org, people: People) -> None:
    client = as_(people.owner)
    form = key_form(org, upstreams="git*, time", tools="", application="claude")
    answer = client.post("/admin/accounts/apikey/add/", form)
    plain = re.search(r"mcph_[a-z2-7]+_[a-z2-7]+", answer.content.decode())
    assert plain
    assert "no-store" in answer["Cache-Control"]
    (record,) = selectors.key_records(str(org.pk))
    assert plain[0] not in str(client.cookies) + str(dict(client.session))
    assert record.principal.scope.upstreams == ("git*", "time")
    for path in (page("apikey"), page("apikey", record.id), page("apikey", record.id, "history")):
        body = client.get(path).content.decode()
        assert plain[0] not in body
        assert record.digest not in body
    kept = str(list(AuditEvent.objects.values())) + str(list(AuditPayload.objects.values()))
    assert plain[0] not in kept
    assert record.digest not in kept


def test_a_key_of_ones_own_speaks_for_oneself_and_nobody_else(org: Org, people: People) -> None:
    form = key_form(org, holder="me", roles=[], user=str(people.viewer.pk))
    as_(people.owner).post("/admin/accounts/apikey/add/", form)
    assert ApiKey.objects.get().user == people.owner


@pytest.mark.parametrize(
    "change",
    [
        {"roles": []},
        {"roles": ["nonsense"]},
        {"name": "north-robot"},
        {"name": "  "},
        {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
    ],
    ids=str,
)
def test_faults_of_a_key_are_shown_beside_the_field(org: Org, people: People, key: ApiKey, change: Any) -> None:
    answer = as_(people.owner).post("/admin/accounts/apikey/add/", key_form(org, **change))
    assert answer.status_code == 200
    assert "errornote" in answer.content.decode() or "correct the error" in answer.content.decode()
    assert ApiKey.objects.count() == 1


@pytest.mark.requirement("T6")
def test_nothing_can_be_added_to_another_org(org: Org, other: Org, people: People) -> None:
    client = as_(people.owner)
    assert client.post("/admin/accounts/apikey/add/", key_form(other)).status_code == 200
    member = {"org": str(other.pk), "email": "spy@example.org", "roles": ["owner"], "attributes": "{}"}
    assert client.post("/admin/accounts/membership/add/", member).status_code == 200
    assert not ApiKey.objects.exists()
    assert not User.objects.filter(email="spy@example.org").exists()


def test_revoking_in_the_list_touches_own_orgs_only(people: People, key: ApiKey, their_key: ApiKey) -> None:
    chosen = {"action": "revoke", "_selected_action": [str(key.pk), str(their_key.pk)]}
    as_(people.owner).post(page("apikey"), chosen)
    key.refresh_from_db()
    their_key.refresh_from_db()
    assert key.revoked_at
    assert their_key.revoked_at is None


def test_a_right_in_one_org_is_none_in_another(org: Org, other: Org, people: People, their_key: ApiKey) -> None:
    services.add_member(other, people.owner, ["viewer"])
    client = as_(people.owner)
    assert client.get(page("apikey", their_key.pk)).status_code == 200
    assert client.post(page("apikey", their_key.pk), {"name": "mine"}).status_code == 403
    client.post(page("apikey"), {"action": "revoke", "_selected_action": [str(their_key.pk)]})
    their_key.refresh_from_db()
    assert (their_key.name, their_key.revoked_at) == ("south-robot", None)


def member_form(**more: Any) -> dict[str, Any]:
    return {"roles": ["viewer"], "attributes": "{}", **more}


@pytest.mark.requirement("D12")
def test_an_owner_adds_a_person_by_email(org: Org, people: People) -> None:
    client = as_(people.owner)
    form = member_form(org=str(org.pk), email=" New@Example.org ")
    answer = client.post("/admin/accounts/membership/add/", form, follow=True)
    assert Membership.objects.get(user__email="new@example.org").roles == ["viewer"]
    assert "/set-password/" in answer.content.decode()


def test_no_link_is_shown_for_somebody_who_has_an_account(org: Org, people: People) -> None:
    form = member_form(org=str(org.pk), email="stranger@example.org")
    answer = as_(people.owner).post("/admin/accounts/membership/add/", form, follow=True)
    assert membership(org, people.stranger).roles == ["viewer"]
    assert "/set-password/" not in answer.content.decode()


@pytest.mark.requirement("T3")
def test_the_last_owner_cannot_be_removed_or_demoted(org: Org, people: People) -> None:
    client, owner = as_(people.owner), membership(org, people.owner)
    demoted = client.post(page("membership", owner.pk), member_form(), follow=True)
    assert "no owner left" in demoted.content.decode()
    removed = client.post(page("membership", owner.pk, "delete"), {"post": "yes"}, follow=True)
    assert "no owner left" in removed.content.decode()
    chosen = {"action": "delete_selected", "_selected_action": [str(owner.pk)], "post": "yes"}
    assert "no owner left" in client.post(page("membership"), chosen, follow=True).content.decode()
    assert membership(org, people.owner).roles == ["owner"]


@pytest.mark.requirement("A4")
def test_a_change_in_the_admin_is_on_record_with_before_and_after(org: Org, people: People) -> None:
    form = member_form(roles=["operator"], attributes='{"team": "blue"}')
    as_(people.owner).post(page("membership", membership(org, people.viewer).pk), form, REMOTE_ADDR="192.0.2.7")
    acts = AuditEvent.objects.filter(org_id=str(org.pk), kind="act", principal="owner@example.org")
    found = {act.method: AuditPayload.objects.get(pk=act.pk).body.decode() for act in acts}
    assert json.loads(found["member.set_roles"]) == {
        "before": {"roles": ["viewer"]},
        "after": {"roles": ["operator"]},
    }
    assert "blue" in found["membership.change"]
    assert {act.source for act in acts} == {"192.0.2.7"}


class TestLimitedManager:
    """Somebody who may manage members and keys, but is no owner (an org's own role)."""

    @pytest.fixture
    def manager(self, org: Org, people: People) -> User:
        from policies.models import Role

        rights = ["view_config", "manage_members", "manage_keys"]
        Role.objects.create(org=org, name="helpdesk", rights=rights)
        services.set_roles(membership(org, people.operator), ["helpdesk"])
        return people.operator

    @pytest.mark.parametrize("roles", [["owner"], ["operator"], ["member", "owner"]])
    def test_gives_no_role_above_their_own(self, org: Org, manager: User, roles: list[str]) -> None:
        client = as_(manager)
        form = member_form(org=str(org.pk), email="friend@example.org", roles=roles)
        assert "You cannot give" in client.post("/admin/accounts/membership/add/", form).content.decode()
        answer = client.post("/admin/accounts/apikey/add/", key_form(org, roles=roles))
        assert "You cannot give" in answer.content.decode()
        assert not ApiKey.objects.exists()
        assert not User.objects.filter(email="friend@example.org").exists()

    def test_gives_what_they_hold(self, org: Org, manager: User) -> None:
        form = member_form(org=str(org.pk), email="friend@example.org", roles=["member", "helpdesk"])
        as_(manager).post("/admin/accounts/membership/add/", form)
        assert Membership.objects.get(user__email="friend@example.org").roles == ["helpdesk", "member"]

    def test_touches_nobody_above_them(self, org: Org, people: People, manager: User) -> None:
        owner = membership(org, people.owner)
        services.set_roles(membership(org, people.member), ["owner"])
        client = as_(manager)
        assert client.post(page("membership", owner.pk), member_form()).status_code == 403
        assert client.post(page("membership", owner.pk, "delete"), {"post": "yes"}).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [str(owner.pk)], "post": "yes"}
        client.post(page("membership"), chosen)
        assert membership(org, people.owner).roles == ["owner"]


@pytest.mark.requirement("T5")
def test_a_hub_admin_crosses_orgs_and_is_recorded(org: Org, other: Org, people: People, their_key: ApiKey) -> None:
    client = as_(people.hub_admin)
    body = client.get(page("org")).content.decode()
    assert "north" in body
    assert "south" in body
    client.post(page("apikey"), {"action": "revoke", "_selected_action": [str(their_key.pk)]})
    their_key.refresh_from_db()
    assert their_key.revoked_at
    act = AuditEvent.objects.get(method="api_key.revoke")
    assert (act.org_id, act.principal) == (str(other.pk), "admin@example.org")


def test_a_hub_admin_makes_orgs_and_people(people: People) -> None:
    client = as_(people.hub_admin)
    bad = client.post("/admin/accounts/org/add/", {"slug": "mcp", "name": "x", "enabled": "on"})
    assert "own URLs" in bad.content.decode().replace("&#x27;", "'")
    client.post("/admin/accounts/org/add/", {"slug": "east", "name": "East", "enabled": "on"})
    assert Org.objects.get(slug="east").name == "East"
    answer = client.post("/admin/accounts/user/add/", {"email": "New@Example.org", "name": ""}, follow=True)
    assert "/set-password/" in answer.content.decode()
    assert User.objects.filter(email="new@example.org").exists()


def test_an_owner_renames_the_org_but_neither_disables_nor_moves_it(org: Org, people: People) -> None:
    client = as_(people.owner)
    client.post(
        page("org", org.pk),
        {"slug": "stolen", "name": "Polaris", "enabled": "", "definition_changes": org.definition_changes},
    )
    org.refresh_from_db()
    assert (org.slug, org.name, org.enabled) == ("north", "Polaris", True)
    assert client.post(page("org", org.pk, "delete"), {"post": "yes"}).status_code == 403
    assert as_(people.viewer).post(page("org", org.pk), {"name": "Mine"}).status_code == 403


def test_disabling_a_person_ends_their_keys_everywhere(org: Org, people: People) -> None:
    services.create_key(org, "laptop", user=people.viewer)
    as_(people.hub_admin).post(page("user"), {"action": "disable", "_selected_action": [str(people.viewer.pk)]})
    assert selectors.key_records(str(org.pk)) == []


@pytest.mark.requirement("D10")
def test_admin_pages_ask_nothing_of_other_hosts(people: People, key: ApiKey) -> None:
    client = as_(people.owner)
    for path in ("/admin/", page("apikey"), page("apikey", key.pk), "/admin/accounts/membership/add/"):
        body = client.get(path).content.decode()
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', body)
