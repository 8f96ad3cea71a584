"""Members, keys, devices and orgs, as the people of an org use their pages."""

import re
from datetime import timedelta
from typing import Any

import pytest

from audit.models import AuditEvent
from mcphub.accounts import newcomers, selectors, services
from mcphub.accounts.models import ApiKey, Device, Installation, Membership, Org, User
from mcphub.core.clock import now
from tests.accounts.conftest import People, membership
from tests.people.conftest import browser
from upstreams.models import Upstream

PASSWORD = "four unrelated plain words"
KEYS = "/org/north/keys/"
KEY = re.compile(r"mcph_[a-z2-7]+_[a-z2-7]+")


@pytest.mark.requirement("D8")
def test_an_owner_changes_roles_and_removes(people: People, org: Org) -> None:
    client = browser(people.owner)
    row = membership(org, people.viewer)
    client.post(f"/org/north/members/{row.pk}/", {"roles": ["viewer", "operator"]})
    assert membership(org, people.viewer).roles == ["operator", "viewer"]
    none = client.post(f"/org/north/members/{row.pk}/", {})
    assert "at least one role" in none.content.decode()
    client.post(f"/org/north/members/{row.pk}/remove/")
    assert not Membership.objects.filter(pk=row.pk).exists()


@pytest.mark.requirement("T3")
def test_the_last_owner_is_told_why_not(people: People, org: Org) -> None:
    client = browser(people.owner)
    row = membership(org, people.owner)
    assert "no owner left" in client.post(f"/org/north/members/{row.pk}/", {"roles": ["viewer"]}).content.decode()
    assert "no owner left" in client.post(f"/org/north/members/{row.pk}/remove/", follow=True).content.decode()
    assert "no owner left" in client.post("/org/north/leave/", follow=True).content.decode()
    assert membership(org, people.owner).roles == ["owner"]


@pytest.mark.requirement("T4")
def test_removal_ends_pages_sign_in_and_keys(people: People, org: Org, other: Org) -> None:
    services.add_member(other, people.operator, ["viewer"])
    here_only, in_both = browser(people.viewer), browser(people.operator)
    services.create_key(org, "laptop", user=people.viewer)
    for user in (people.viewer, people.operator):
        services.remove_member(membership(org, user))
    assert here_only.get("/")["Location"].startswith("/sign-in/")
    assert in_both.get("/").status_code == 200
    assert in_both.get("/org/north/members/").status_code == 404
    assert "north" not in in_both.get("/").content.decode().lower()
    assert selectors.key_records(str(org.pk)) == []


def test_a_member_leaves(people: People, org: Org) -> None:
    client = browser(people.member)
    assert "Leave North" in client.get("/org/north/leave/").content.decode()
    client.post("/org/north/leave/")
    assert not Membership.objects.filter(org=org, user=people.member).exists()


def make_key(user: User, **more: Any) -> Any:
    form = {"name": "laptop", "lifetime": "30", "application": "", "upstreams": "", **more}
    return browser(user).post(KEYS, form)


@pytest.mark.requirement("S3")
@pytest.mark.requirement("D9")
def test_a_member_makes_a_key_that_is_shown_once(people: People, org: Org) -> None:
    answer = make_key(people.operator, upstreams="git*, time")
    plain = KEY.search(answer.content.decode())
    assert plain
    assert "no-store" in answer["Cache-Control"]
    (record,) = selectors.key_records(str(org.pk))
    assert (record.principal.label, record.principal.scope.upstreams) == (people.operator.email, ("git*", "time"))
    body = browser(people.operator).get(KEYS).content.decode()
    assert "<td>laptop" in body
    assert plain[0] not in body
    assert "<td>laptop" not in browser(people.viewer).get(KEYS).content.decode()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": " "}, "required"),
        ({"name": "taken"}, "working key of that name"),
        ({"roles": ["owner"]}, "not one of the available choices"),
        ({"lifetime": "9999"}, "not one of the available choices"),
    ],
    ids=str,
)
def test_faults_of_a_key_are_said_before_it_is_made(people: People, org: Org, form: Any, words: str) -> None:
    services.create_key(org, "taken", user=people.member)
    answer = make_key(people.member, **form)
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert ApiKey.objects.count() == 1


@pytest.mark.requirement("D9")
def test_a_replaced_key_works_on_for_its_grace(people: People, org: Org) -> None:
    make_key(people.member, roles=["member"], application="claude")
    old = ApiKey.objects.get()
    answer = browser(people.member).post(f"{KEYS}{old.pk}/rotate/", {"grace": "1"})
    assert KEY.search(answer.content.decode())
    old.refresh_from_db()
    new = ApiKey.objects.exclude(pk=old.pk).get()
    assert (new.name, new.roles, new.application, new.user) == ("laptop", ["member"], "claude", people.member)
    assert timedelta(minutes=59) < (old.expires_at or now()) - now() <= timedelta(hours=1)
    assert len(selectors.key_records(str(org.pk))) == 2
    browser(people.member).post(f"{KEYS}{new.pk}/rotate/", {"grace": "0"})
    assert len(selectors.key_records(str(org.pk))) == 2
    assert browser(people.member).post(f"{KEYS}{new.pk}/rotate/", {"grace": "0"}, follow=True).status_code == 200
    assert len(selectors.key_records(str(org.pk))) == 2


def test_a_revoked_key_is_gone_and_says_so(people: People, org: Org) -> None:
    make_key(people.member)
    key = ApiKey.objects.get()
    browser(people.member).post(f"{KEYS}{key.pk}/revoke/")
    assert selectors.key_records(str(org.pk)) == []
    again = browser(people.member).post(f"{KEYS}{key.pk}/revoke/", follow=True)
    assert "revoked already" in again.content.decode()


@pytest.mark.requirement("S4")
def test_service_keys_are_for_who_manages_keys_and_need_a_role(people: People, org: Org) -> None:
    form = {"name": "ci", "lifetime": ""}
    path = "/org/north/service-keys/"
    assert browser(people.operator).post(path, {**form, "roles": ["viewer"]}).status_code == 404
    client = browser(people.owner)
    assert "at least one role" in client.post(path, form).content.decode()
    assert KEY.search(client.post(path, {**form, "roles": ["viewer"]}).content.decode())
    (record,) = selectors.key_records(str(org.pk))
    assert (record.principal.kind, record.principal.roles) == ("service", frozenset({"viewer"}))


@pytest.mark.requirement("S8")
def test_each_browser_is_listed_and_can_be_signed_out(people: People) -> None:
    here, there, third = browser(people.member), browser(people.member), browser(people.member)
    page = here.get("/devices/").content.decode()
    assert page.count("/end/") == 3 + 1
    device = Device.objects.get(pk=there.session["device"])
    assert browser(people.viewer).post(f"/devices/{device.pk}/end/").status_code == 404
    here.post(f"/devices/{device.pk}/end/")
    assert there.get("/")["Location"].startswith("/sign-in/")
    assert third.get("/").status_code == 200
    here.post("/devices/others/end/")
    assert third.get("/")["Location"].startswith("/sign-in/")
    assert here.get("/").status_code == 200
    assert AuditEvent.objects.filter(method="device.end").exists()


@pytest.mark.requirement("S8")
def test_a_new_password_signs_the_other_browsers_out(people: People) -> None:
    people.member.set_password(PASSWORD)
    people.member.save()
    here, there = browser(people.member), browser(people.member)
    changed = {"old": PASSWORD, "password": f"{PASSWORD} more", "again": f"{PASSWORD} more"}
    assert here.post("/set-password/", changed).status_code == 302
    assert here.get("/").status_code == 200
    assert there.get("/")["Location"].startswith("/sign-in/")
    assert Device.objects.filter(user=people.member).count() == 1


@pytest.mark.requirement("S7")
def test_a_prepared_password_opens_nothing_but_its_change(people: People) -> None:
    with pytest.raises(services.Refused, match="too short"):
        services.prepare_password(people.owner, "short")
    services.prepare_password(people.owner, PASSWORD)
    client = browser(people.owner)
    for path in ("/", "/admin/", "/org/north/members/"):
        assert client.get(path)["Location"].startswith("/set-password/?next=")
    api = client.get("/api/v1/me")
    assert (api.status_code, api.json()["error"]["code"]) == (403, "change_password")
    same = client.post("/set-password/", {"old": PASSWORD, "password": PASSWORD, "again": PASSWORD})
    assert same.status_code == 400
    client.post("/set-password/", {"old": PASSWORD, "password": f"{PASSWORD} more", "again": f"{PASSWORD} more"})
    assert client.get("/").status_code == 200


@pytest.mark.requirement("T1")
def test_somebody_in_two_orgs_switches(people: People, org: Org, other: Org, cloud: None) -> None:
    services.add_member(other, people.owner, ["viewer"])
    client = browser(people.owner)
    page = client.get("/").content.decode()
    assert 'href="/org/south/"' in page
    assert 'href="/org/north/members/"' in page
    assert 'href="/org/south/members/"' in client.get("/org/south/", follow=True).content.decode()
    services.remove_member(membership(other, people.owner))
    assert 'href="/org/north/members/"' in client.get("/").content.decode()


@pytest.mark.requirement("T1")
def test_standalone_shows_neither_switcher_nor_new_orgs(people: People, org: Org, other: Org) -> None:
    services.add_member(other, people.owner, ["viewer"])
    client = browser(people.owner)
    assert "/orgs/new/" not in client.get("/").content.decode()
    assert 'href="/org/south/"' not in client.get("/").content.decode()
    assert client.get("/orgs/new/").status_code == 404
    assert client.get("/org/north/members/").status_code == 200


@pytest.mark.requirement("T7")
def test_a_verified_newcomer_makes_an_org_and_owns_it_or_nothing_is_made(db: None, cloud: None, org: Org) -> None:
    client = browser()
    session = client.session
    session[newcomers.KEY] = {"email": "new@example.org", "name": "New"}
    session.save()
    assert "is taken" in client.get("/orgs/free/?slug=north").content.decode()
    assert "is free" in client.get("/orgs/free/?slug=lab").content.decode()
    for slug in ("north", "admin", "x", "No Slug"):
        assert client.post("/orgs/new/", {"name": "Lab", "slug": slug}).status_code == 400
    assert not User.objects.filter(email="new@example.org").exists()
    assert client.post("/orgs/new/", {"name": "Lab", "slug": "lab"}).status_code == 302
    user = User.objects.get(email="new@example.org")
    assert membership(Org.objects.get(slug="lab"), user).roles == ["owner"]
    assert client.get("/org/lab/members/").status_code == 200


@pytest.mark.requirement("T7")
def test_self_service_can_be_switched_off(people: People, cloud: None) -> None:
    Installation.objects.create(self_service=False)
    client = browser(people.stranger)
    assert client.get("/orgs/new/").status_code == 404
    assert client.post("/orgs/new/", {"name": "Lab", "slug": "lab"}).status_code == 404
    assert browser(people.hub_admin).post("/orgs/new/", {"name": "Lab", "slug": "lab"}).status_code == 302


@pytest.mark.requirement("T1")
def test_an_org_goes_with_everything_once_its_name_is_typed(
    people: People, org: Org, other: Org, cloud: None
) -> None:
    Upstream.objects.create(org=org, slug="time", name="Time", url="https://example.org/mcp")
    services.create_key(org, "robot", roles=["viewer"])
    member = browser(people.member)
    client = browser(people.owner)
    assert "north" in client.post("/org/north/delete/", {"typed": "South"}).content.decode()
    assert Org.objects.filter(slug="north").exists()
    assert browser(people.operator).post("/org/north/delete/", {"typed": "north"}).status_code == 404
    client.post("/org/north/delete/", {"typed": "north"})
    assert list(Org.objects.values_list("slug", flat=True)) == ["south"]
    assert not ApiKey.objects.exists()
    assert not Upstream.objects.exists()
    assert member.get("/")["Location"].startswith("/sign-in/")
    assert AuditEvent.objects.filter(method="org.delete", name="north", org_id="").exists()


def test_the_only_org_of_a_standalone_hub_stays(people: People, org: Org, other: Org) -> None:
    other.delete()
    answer = browser(people.owner).post("/org/north/delete/", {"typed": "north"})
    assert "serves one org" in answer.content.decode()


@pytest.mark.requirement("T5")
def test_a_hub_admin_sees_every_org_and_what_they_do_is_on_record(people: People, org: Org) -> None:
    client = browser(people.hub_admin)
    assert client.get("/org/north/members/").status_code == 200
    client.post("/org/north/invitations/", {"email": "new@example.org", "roles": ["viewer"]})
    event = AuditEvent.objects.get(method="invitation.create")
    assert (event.principal, event.org) == (people.hub_admin.email, "north")
    assert client.get(KEYS).status_code == 200
    assert make_key(people.hub_admin).status_code == 404
