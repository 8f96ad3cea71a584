"""A forgotten password: a link by mail, which tells nobody whether an address is somebody's."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session

from mcphub.accounts import services
from mcphub.accounts.models import ApiKey, Org, PasswordWish, User
from mcphub.accounts.tasks import forget_sessions, send_password_links
from mcphub.core.clock import now
from tests.accounts.conftest import People
from tests.harness.mail import MailBox
from tests.people.conftest import browser

PAGE = "/sign-in/forgotten/"
PASSWORD = "four unrelated plain words"


@pytest.fixture
def passwords(settings: Any, mails: MailBox) -> MailBox:
    """People sign in by password, and the hub sends mail."""
    settings.HUB = settings.HUB.model_copy(update={"sign_in": ("password",)})
    return mails


def ask(email: str) -> Any:
    return browser().post(PAGE, {"email": email})


def link_in(mail: Any) -> str:
    found = re.search(r"https?://[^/\s]+(/set-password/[\w-]+/)", mail.get_content())
    assert found is not None
    return found[1]


@pytest.mark.requirement("S1")
def test_the_link_sets_a_password_once_and_ends_every_sign_in(people: People, passwords: MailBox) -> None:
    before = browser(people.viewer)
    assert before.get("/").status_code == 200
    assert "I forgot my password" in browser().get("/sign-in/").content.decode()
    assert ask(people.viewer.email.upper()).status_code == 200
    send_password_links()
    send_password_links()
    (mail,) = passwords.mails
    assert mail["To"] == people.viewer.email
    client, link = browser(), link_in(mail)
    assert client.get(link)["Location"] == "/set-password/"
    done = client.post("/set-password/", {"password": PASSWORD, "again": PASSWORD})
    assert done["Location"] == "/"
    assert client.get("/").status_code == 200
    assert before.get("/").status_code == 302
    assert User.objects.get(pk=people.viewer.pk).check_password(PASSWORD)
    assert browser().get(link).status_code == 410


@pytest.mark.requirement("S1")
def test_an_unknown_address_gets_the_same_answer_and_no_mail(people: People, passwords: MailBox) -> None:
    User.objects.filter(pk=people.operator.pk).update(is_active=False)
    answers = {email: ask(email) for email in ("nobody@example.org", people.operator.email, people.viewer.email)}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert len({answer.content.decode().replace(email, "") for email, answer in answers.items()}) == 1
    send_password_links()
    assert [mail["To"] for mail in passwords.mails] == [people.viewer.email]
    assert not PasswordWish.objects.exists()


@pytest.mark.requirement("S1")
def test_whoever_used_the_account_before_its_address_was_proven_is_shut_out(
    people: People, org: Org, passwords: MailBox
) -> None:
    key = services.create_key(org, "squatter", user=people.viewer).row
    User.objects.filter(pk=people.viewer.pk).update(email_proven=False)
    ask(people.viewer.email)
    send_password_links()
    client = browser()
    client.get(link_in(passwords.mails[0]))
    client.post("/set-password/", {"password": PASSWORD, "again": PASSWORD})
    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    assert User.objects.get(pk=people.viewer.pk).email_proven


@pytest.mark.requirement("S1")
def test_asking_is_throttled_and_old_wishes_are_given_up(people: People, passwords: MailBox) -> None:
    answers = [ask(people.viewer.email).status_code for _ in range(12)]
    assert answers[0] == 200
    assert answers[-1] == 429
    PasswordWish.objects.update(at=now() - timedelta(hours=2))
    send_password_links()
    assert passwords.mails == []
    assert not PasswordWish.objects.exists()


@pytest.mark.requirement("S1")
def test_without_mail_there_is_no_such_page(people: People) -> None:
    assert browser().get(PAGE).status_code == 404
    assert "I forgot" not in browser().get("/sign-in/").content.decode()


@pytest.mark.requirement("S1")
def test_sessions_that_are_over_are_forgotten(people: People) -> None:
    browser(people.viewer).get("/")
    browser(people.owner).get("/")
    first, second = Session.objects.order_by("session_key")
    Session.objects.filter(pk=first.pk).update(expire_date=now() - timedelta(days=1))
    forget_sessions()
    assert list(Session.objects.all()) == [second]
