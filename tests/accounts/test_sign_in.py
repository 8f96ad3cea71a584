"""Signing in through the pages, as a browser does."""

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse

from audit.models import AuditEvent
from mcphub.accounts import links, services
from mcphub.accounts.models import Membership, Org, SignInFailure, User

PASSWORD = "four unrelated plain words"
SIGN_IN = "/sign-in/"


@pytest.fixture
def hub(settings: Any) -> Callable[..., None]:
    def use(**values: Any) -> None:
        settings.HUB = settings.HUB.model_copy(update=values)

    return use


@pytest.fixture
def passwords(hub: Callable[..., None]) -> None:
    hub(sign_in=("password",))


@pytest.fixture
def ann(org: Org) -> User:
    user = services.create_user("ann@example.org")
    services.add_member(org, user, ["owner"])
    user.set_password(PASSWORD)
    user.save()
    return user


def who(client: Client) -> str | None:
    return client.session.get("_auth_user_id")


def attempt(client: Client, email: str, password: str, source: str = "127.0.0.1", **more: Any) -> Any:
    return client.post(SIGN_IN, {"email": email, "password": password}, REMOTE_ADDR=source, **more)


def pick(client: Client, email: str, **more: Any) -> Any:
    return client.post(SIGN_IN, {"way": "dev", "email": email}, **{"HTTP_HOST": "127.0.0.1:8080", **more})


@pytest.mark.requirement("S7")
def test_a_person_signs_in_with_their_password(client: Client, ann: User) -> None:
    answer = attempt(client, " Ann@Example.org ", PASSWORD)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert who(client) == str(ann.pk)


@pytest.mark.parametrize(("email", "password"), [("ann@example.org", "wrong"), ("nobody@example.org", PASSWORD)])
def test_wrong_and_unknown_get_the_same_answer(client: Client, ann: User, email: str, password: str) -> None:
    answer = attempt(client, email, password)
    assert answer.status_code == 401
    assert "do not go together" in answer.content.decode()
    assert password not in answer.content.decode()
    assert who(client) is None


@pytest.mark.parametrize("spoil", ["disabled", "no password"])
def test_the_disabled_and_those_without_a_password_stay_out(client: Client, ann: User, spoil: str) -> None:
    if spoil == "disabled":
        User.objects.filter(pk=ann.pk).update(is_active=False)
    else:
        ann.set_unusable_password()
        ann.save()
    assert attempt(client, ann.email, PASSWORD).status_code == 401


def test_a_disabled_person_is_out_at_once(client: Client, ann: User) -> None:
    attempt(client, ann.email, PASSWORD)
    assert client.get("/admin/").status_code == 200
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert client.get("/admin/").status_code == 302


@pytest.mark.requirement("S7")
def test_the_eleventh_failure_of_a_source_is_refused_for_any_email(client: Client, ann: User) -> None:
    for n in range(10):
        assert attempt(client, f"guess{n}@example.org", "x", "192.0.2.1").status_code == 401
    blocked = attempt(client, ann.email, PASSWORD, "192.0.2.1")
    assert blocked.status_code == 429
    assert 1 <= int(blocked["Retry-After"]) <= 300
    assert who(client) is None
    assert attempt(client, ann.email, PASSWORD, "192.0.2.2").status_code == 302


def test_an_email_is_guarded_against_many_sources(client: Client, ann: User) -> None:
    for n in range(10):
        assert attempt(client, ann.email, "x", f"192.0.2.{n}").status_code == 401
    assert attempt(client, ann.email.upper(), PASSWORD, "198.51.100.1").status_code == 429


def test_one_ipv6_network_is_one_source(client: Client, ann: User) -> None:
    for n in range(10):
        attempt(client, f"guess{n}@example.org", "x", f"2001:db8::{n:x}")
    assert attempt(client, ann.email, PASSWORD, "2001:db8::ffff").status_code == 429
    assert attempt(client, ann.email, PASSWORD, "2001:db8:0:1::1").status_code == 302


def test_a_forged_forwarding_header_is_no_other_source(client: Client, ann: User) -> None:
    for n in range(10):
        attempt(client, f"guess{n}@example.org", "x", "192.0.2.1", HTTP_X_FORWARDED_FOR=f"198.51.100.{n}")
    assert attempt(client, ann.email, PASSWORD, "192.0.2.1").status_code == 429


def test_behind_a_trusted_proxy_the_real_address_counts(client: Client, ann: User, hub: Callable[..., None]) -> None:
    hub(trusted_proxies=("10.0.0.0/8",))
    for n in range(10):
        attempt(client, f"guess{n}@example.org", "x", "10.0.0.1", HTTP_X_FORWARDED_FOR="6.6.6.6, 192.0.2.1, 10.0.0.9")
    real = {"HTTP_X_FORWARDED_FOR": "203.0.113.5, 192.0.2.1"}
    assert attempt(client, ann.email, PASSWORD, "10.0.0.1", **real).status_code == 429
    assert attempt(client, ann.email, PASSWORD, "10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.9").status_code == 302


def test_success_does_not_count_and_failures_age_out(client: Client, ann: User) -> None:
    for _ in range(15):
        assert attempt(client, ann.email, PASSWORD).status_code == 302
    for _ in range(10):
        attempt(client, ann.email, "x")
    assert attempt(client, ann.email, PASSWORD).status_code == 429
    SignInFailure.objects.update(at=F("at") - timedelta(seconds=301))
    assert attempt(client, ann.email, PASSWORD).status_code == 302


def test_what_people_type_is_not_kept(client: Client, ann: User) -> None:
    attempt(client, "hunter2-typed-in-the-wrong-field", "x")
    kept = str(list(SignInFailure.objects.values())) + str(list(AuditEvent.objects.values()))
    assert "hunter2" not in kept


def test_sign_ins_and_failures_are_on_record(client: Client, ann: User) -> None:
    attempt(client, ann.email, "x", "192.0.2.1")
    attempt(client, ann.email, PASSWORD, "192.0.2.1")
    rows = AuditEvent.objects.filter(kind="sign-in").values_list("principal", "effect", "source", "org")
    assert list(rows) == [(ann.email, "deny", "192.0.2.1", "north"), (ann.email, "allow", "192.0.2.1", "north")]


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        ("/admin/", "/admin/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/\\evil.example", "/"),
        ("", "/"),
    ],
)
def test_after_sign_in_only_pages_of_this_hub(client: Client, ann: User, wanted: str, goes: str) -> None:
    answer = client.post(SIGN_IN, {"email": ann.email, "password": PASSWORD, "next": wanted})
    assert answer["Location"] == goes


def test_signing_in_needs_the_token_of_the_form(ann: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(SIGN_IN, {"email": ann.email, "password": PASSWORD}).status_code == 403
    page = strict.get(SIGN_IN).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token
    form = {"email": ann.email, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    assert strict.post(SIGN_IN, form).status_code == 302


def test_signing_out_is_a_post(client: Client, ann: User) -> None:
    client.force_login(ann)
    assert "Sign out?" in client.get("/sign-out/").content.decode()
    assert who(client)
    client.post("/sign-out/")
    assert who(client) is None


@pytest.mark.requirement("S8")
@pytest.mark.requirement("T1")
def test_the_first_person_picked_owns_org_default(client: Client, db: None) -> None:
    assert "first person becomes the owner" in client.get(SIGN_IN, HTTP_HOST="localhost:8080").content.decode()
    assert pick(client, "Ann@Example.org").status_code == 302
    first = Membership.objects.get()
    assert (first.org.slug, first.user.email, first.roles) == ("default", "ann@example.org", ["owner"])
    pick(Client(), "bob@example.org")
    assert Membership.objects.get(user__email="bob@example.org").roles == ["member"]
    page = Client().get(SIGN_IN, HTTP_HOST="localhost:8080").content.decode()
    assert "bob@example.org" in page


@pytest.mark.requirement("S7")
@pytest.mark.parametrize(
    "more",
    [
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": ""},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_X_REAL_IP": "127.0.0.1"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_HOST": "rebound.example"},
        {"HTTP_HOST": "127.0.0.1.evil.example"},
    ],
    ids=str,
)
def test_the_picker_is_for_this_machine_only(client: Client, ann: User, more: dict[str, str]) -> None:
    assert pick(client, ann.email, **more).status_code == 403
    assert who(client) is None
    page = client.get(SIGN_IN, **{"HTTP_HOST": "127.0.0.1", **more}).content.decode()
    assert "Development sign-in" not in page
    assert ann.email not in page


@pytest.mark.parametrize(
    "values", [{"mode": "cloud"}, {"sign_in": ("password",)}, {"host": "0.0.0.0"}, {"host": "192.0.2.1"}], ids=str
)
def test_the_picker_is_off_where_it_must_be(
    client: Client, ann: User, hub: Callable[..., None], values: dict[str, Any]
) -> None:
    hub(**values)
    assert pick(client, ann.email).status_code == 403
    assert who(client) is None


def test_passwords_can_be_off(client: Client, ann: User, hub: Callable[..., None]) -> None:
    hub(sign_in=("dev",))
    assert attempt(client, ann.email, PASSWORD).status_code == 403
    assert who(client) is None


@pytest.mark.parametrize("email", ["", "nonsense", "x" * 300 + "@example.org"])
def test_the_picker_takes_addresses_only(client: Client, db: None, email: str) -> None:
    assert pick(client, email).status_code == 400
    assert not User.objects.exists()


def test_a_disabled_person_cannot_be_picked(client: Client, ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert pick(client, ann.email).status_code == 400
    assert who(client) is None


def path_of(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def opened(client: Client, link: str) -> str:
    """Follow a one-time link; the path of the form."""
    answer = client.get(path_of(link))
    assert answer.status_code == 302
    return answer["Location"]


def test_a_link_sets_the_password_once(client: Client, org: Org) -> None:
    bob = services.create_user("bob@example.org")
    link = links.password_link(bob)
    form = opened(client, link)
    early = Client()
    opened(early, link)
    page = client.get(form)
    assert "bob@example.org" in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert client.post(form, {"password": PASSWORD, "again": PASSWORD}).status_code == 302
    assert who(client) == str(bob.pk)
    second = {"password": "another long password", "again": "another long password"}
    assert early.post(form, second).status_code == 410
    assert Client().get(path_of(link)).status_code == 410
    bob.refresh_from_db()
    assert bob.check_password(PASSWORD)


def test_the_text_of_a_link_stays_out_of_logs_and_of_the_form(
    client: Client, org: Org, caplog: pytest.LogCaptureFixture
) -> None:
    link = links.password_link(services.create_user("bob@example.org"))
    form = opened(client, link)
    answer = client.post(form, {"password": "x", "again": "y"})
    token = link.rstrip("/").rsplit("/", 1)[1]
    assert answer.status_code == 400
    assert token not in form + answer.content.decode() + caplog.text


@pytest.mark.parametrize(
    ("password", "again"), [("short", "short"), (PASSWORD, PASSWORD + "x"), ("password123", "password123"), ("", "")]
)
def test_weak_and_mistyped_passwords_are_refused(client: Client, org: Org, password: str, again: str) -> None:
    bob = services.create_user("bob@example.org")
    form = opened(client, links.password_link(bob))
    answer = client.post(form, {"password": password, "again": again})
    assert answer.status_code == 400
    assert who(client) is None


def test_altered_old_and_foreign_links_do_not_work(
    client: Client, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(links.password_link(ann))
    assert client.get(path[:-3] + ("A" if path[-3] != "A" else "B") + path[-2:]).status_code == 410
    assert client.get("/set-password/nonsense/").status_code == 410
    later = time.time() + 901
    monkeypatch.setattr(links.time, "time", lambda: later)
    assert client.get(path).status_code == 410


def test_a_link_of_a_disabled_person_does_not_work(client: Client, ann: User) -> None:
    path = path_of(links.password_link(ann))
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert client.get(path).status_code == 410


@pytest.mark.requirement("S8")
def test_the_set_up_link_makes_the_first_owner_once(client: Client, db: None, passwords: None) -> None:
    link = links.setup_link()
    path = opened(client, link)
    early = Client()
    opened(early, link)
    form = {"email": "first@example.org", "password": PASSWORD, "again": PASSWORD}
    assert client.post(path, {**form, "email": "nonsense"}).status_code == 400
    assert client.post(path, form).status_code == 302
    assert Membership.objects.get().roles == ["owner"]
    assert early.post(path, {**form, "email": "second@example.org"}).status_code == 410
    assert Client().get(path_of(link)).status_code == 410
    assert not User.objects.filter(email="second@example.org").exists()
    assert attempt(Client(), "first@example.org", PASSWORD).status_code == 302


def test_links_carry_the_public_address(ann: User, hub: Callable[..., None]) -> None:
    hub(server_url="https://hub.example.org")
    assert links.password_link(ann).startswith("https://hub.example.org/set-password/")


def test_changing_the_password_needs_the_old_one_and_ends_other_sessions(ann: User) -> None:
    here, there = Client(), Client()
    here.force_login(ann)
    there.force_login(ann)
    path = reverse("set-password")
    form = {"old": "wrong", "password": "a brand new pass phrase", "again": "a brand new pass phrase"}
    assert here.post(path, form).status_code == 400
    assert here.post(path, {**form, "old": PASSWORD}).status_code == 302
    assert here.get("/admin/").status_code == 200
    assert there.get("/admin/").status_code == 302


def test_guessing_the_old_password_is_throttled(client: Client, ann: User) -> None:
    client.force_login(ann)
    form = {"old": "wrong", "password": "a brand new pass phrase", "again": "a brand new pass phrase"}
    answers = [client.post(reverse("set-password"), form).status_code for _ in range(11)]
    assert answers == [400] * 10 + [429]


@pytest.mark.requirement("D10")
def test_pages_ask_nothing_of_other_hosts(client: Client, db: None) -> None:
    for path in (SIGN_IN, "/sign-out/", "/set-password/x/"):
        page = client.get(path, HTTP_HOST="localhost").content.decode()
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page)
        assert "<script" not in page
