"""From an invitation to a membership, with mail and without, and everything that must not open one."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEvent
from mcphub.accounts import invitations, newcomers, services
from mcphub.accounts.acts import COMMAND_LINE
from mcphub.accounts.models import Invitation, Membership, Org, User
from mcphub.core.clock import now
from tests.accounts.conftest import People, membership
from tests.harness.mail import MailBox
from tests.people.conftest import browser

INVITE = "/org/north/invitations/"
PASSWORD = "four unrelated plain words"


def invite(people: People, email: str, roles: list[str] | None = None) -> Any:
    return browser(people.owner).post(INVITE, {"email": email, "roles": roles or ["viewer"]})


def link_in(text: str) -> str:
    found = re.search(r"https?://[^/\s]+(/join/north/[\w-]+/)", text)
    assert found, text
    return found[1]


@pytest.mark.requirement("T2")
def test_without_mail_the_link_is_shown_and_makes_an_account(people: People, org: Org) -> None:
    shown = link_in(invite(people, "New@example.org").content.decode())
    client = browser()
    assert client.get(shown)["Location"] == "/join/north/"
    page = client.get("/join/north/").content.decode()
    assert "new@example.org" in page
    short = client.post("/join/north/", {"answer": "accept", "password": "short", "again": "short"})
    assert short.status_code == 400
    assert not User.objects.filter(email="new@example.org").exists()
    joined = client.post("/join/north/", {"answer": "accept", "password": PASSWORD, "again": PASSWORD})
    assert joined["Location"] == "/"
    user = User.objects.get(email="new@example.org")
    assert membership(org, user).roles == ["viewer"]
    assert not user.email_proven
    assert client.get("/").status_code == 200
    assert browser().get(shown, follow=True).status_code == 404


@pytest.mark.requirement("T2")
def test_with_mail_only_its_receiver_gets_the_link(people: People, org: Org, mails: MailBox) -> None:
    answer = invite(people, "new@example.org").content.decode()
    assert "/join/" not in answer
    (mail,) = mails.mails
    assert mail["to"] == "new@example.org"
    client = browser()
    client.get(link_in(mail.get_content()))
    client.post("/join/north/", {"answer": "accept", "password": PASSWORD, "again": PASSWORD})
    assert User.objects.get(email="new@example.org").email_proven


def test_a_mail_that_does_not_go_leaves_the_link_to_copy(people: People, org: Org, mails: MailBox) -> None:
    mails.refuse = True
    answer = invite(people, "new@example.org").content.decode()
    assert "could not be sent" in answer
    assert link_in(answer)


@pytest.mark.requirement("T2")
def test_somebody_with_an_account_finds_it_after_sign_in_and_declines(people: People, org: Org) -> None:
    invite(people, people.stranger.email)
    client = browser(people.stranger)
    assert "North" in client.get("/join/").content.decode()
    assert "Join North" in client.get("/join/north/").content.decode()
    client.post("/join/north/", {"answer": "decline"})
    assert Invitation.objects.get().state == "declined"
    assert client.get("/join/north/").status_code == 404
    assert not Membership.objects.filter(org=org, user=people.stranger).exists()


@pytest.mark.requirement("T2")
def test_every_reason_for_none_has_one_answer(people: People, org: Org, other: Org) -> None:
    client = browser(people.stranger)
    answers = {client.get(f"/join/{slug}/").content for slug in ("north", "south", "no-such-org")}
    lapsed = invitations.invite(org, people.stranger.email, ["viewer"], by=COMMAND_LINE).row
    Invitation.objects.filter(pk=lapsed.pk).update(expires_at=now() - timedelta(seconds=1))
    answers.add(client.get("/join/north/").content)
    invitations.withdraw(lapsed, by=COMMAND_LINE)
    answers.add(client.get("/join/north/").content)
    signed_out = {browser().get(f"/join/{slug}/")["Location"].replace(slug, "x") for slug in ("north", "nowhere")}
    without_tokens = {re.sub(rb'csrfmiddlewaretoken" value="[^"]+"', b"", body) for body in answers}
    assert len(without_tokens) == len(signed_out) == 1


def test_an_address_that_nobody_vouches_for_opens_nothing(people: People, org: Org) -> None:
    """Whoever made an account with another's address beforehand gets neither the invitation nor keeps the account."""
    squatter = services.create_user("victim@example.org", proven=False)
    squatter.set_password(PASSWORD)
    squatter.save()
    shown = invitations.invite(org, "victim@example.org", ["viewer"], by=COMMAND_LINE)
    client = browser(squatter)
    assert client.get("/join/north/").status_code == 404
    assert "North" not in client.get("/join/").content.decode()
    assert invitations.find("north", squatter, "") is None
    services.prove_email(squatter)
    assert client.get("/")["Location"].startswith("/sign-in/")
    squatter.refresh_from_db()
    assert not squatter.has_usable_password()
    assert invitations.find("north", squatter, "") == invitations.Shown(shown.row, False)


def test_a_link_in_the_wrong_browser_joins_nobody(people: People, org: Org) -> None:
    shown = link_in(invite(people, "new@example.org").content.decode())
    client = browser(people.stranger)
    client.get(shown)
    answer = client.post("/join/north/", {"answer": "accept"})
    assert answer.status_code == 403
    assert "stranger@example.org" in answer.content.decode()
    assert Invitation.objects.get().state == "pending"


def test_an_altered_link_is_no_link(people: People, org: Org) -> None:
    shown = link_in(invite(people, "new@example.org").content.decode())
    client = browser()
    client.get(shown[:-3] + "xx/")
    assert client.get("/join/north/").status_code == 404


@pytest.mark.requirement("S7")
def test_a_newcomer_by_a_provider_has_an_account_only_with_what_they_join(people: People, org: Org) -> None:
    invitations.invite(org, "new@example.org", ["operator"], by=COMMAND_LINE)
    for email, status in (("new@example.org", 200), ("nobody@example.org", 404)):
        client = proven(browser(), email)
        assert client.get("/join/north/").status_code == status
        assert client.get("/join/").status_code == 200
        assert not User.objects.filter(email=email).exists()
    client = proven(browser(), "new@example.org")
    client.post("/join/north/", {"answer": "accept"})
    user = User.objects.get(email="new@example.org")
    assert (user.email_proven, membership(org, user).roles) == (True, ["operator"])
    assert client.get("/").status_code == 200


def proven(client: Client, email: str) -> Client:
    """What sign-in by a provider leaves in the session of somebody without an account."""
    session = client.session
    session[newcomers.KEY] = {"email": email, "name": ""}
    session.save()
    return client


def test_nobody_gives_a_role_above_their_own_or_a_member_twice(people: People, org: Org) -> None:
    assert browser(people.operator).post(INVITE, {"email": "x@example.org", "roles": ["viewer"]}).status_code == 404
    taken = invite(people, people.viewer.email)
    assert taken.status_code == 400
    assert "already a member" in taken.content.decode()
    assert invite(people, "no address").status_code == 400
    assert invite(people, "new@example.org", ["king"]).status_code == 400
    assert not Invitation.objects.exists()


def test_a_new_invitation_replaces_the_open_one_and_its_link(people: People, org: Org) -> None:
    first = link_in(invite(people, "new@example.org").content.decode())
    row = Invitation.objects.get()
    second = link_in(browser(people.owner).post(f"{INVITE}{row.pk}/renew/").content.decode())
    assert browser().get(first, follow=True).status_code == 404
    assert browser().get(second, follow=True).status_code == 200
    withdrawn = Invitation.objects.get(state="pending")
    browser(people.owner).post(f"{INVITE}{withdrawn.pk}/withdraw/")
    assert browser().get(second, follow=True).status_code == 404
    acts = AuditEvent.objects.filter(method__startswith="invitation.").values_list("method", flat=True)
    assert list(acts) == ["invitation.create", "invitation.create", "invitation.withdraw"]


@pytest.mark.requirement("T8")
def test_a_quota_names_limit_and_use(people: People, org: Org, hub: Callable[..., None]) -> None:
    from mcphub.accounts.models import Installation, OrgQuota

    Installation.objects.create(members=5)
    invite(people, "fifth@example.org")
    refused = invite(people, "sixth@example.org")
    assert "may have 5 members and has 5" in refused.content.decode()
    OrgQuota.objects.create(org=org, members=4)
    row = Invitation.objects.get(email="fifth@example.org")
    with pytest.raises(services.Refused, match="may have 4 members and has 4"):
        services.add_member(org, people.stranger, ["viewer"])
    OrgQuota.objects.update(members=None)
    assert "is invited" in invite(people, "sixth@example.org").content.decode()
    assert row.state == "pending"
