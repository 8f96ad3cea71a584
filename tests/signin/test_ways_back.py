"""What comes back from a provider, good and bad: who is let in, and what everybody else is told."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from social_django.models import UserSocialAuth

from audit.models import AuditEvent
from mcphub.accounts import services
from mcphub.accounts.models import Membership, Org, User
from mcphub.accounts.social import backends, providers
from tests.accounts.conftest import org
from tests.signin.fake_provider import FakeGitHub, FakeOpenId

__all__ = ["org"]

CLIENT_ID = "hub"
FAR = {"REMOTE_ADDR": "192.0.2.9"}


@pytest.fixture
def openid(settings: Any) -> Iterator[FakeOpenId]:
    with FakeOpenId(CLIENT_ID) as fake:
        settings.HUB = settings.HUB.model_copy(
            update={
                "sign_in": ("oidc", "google", "github"),
                "oidc_issuer": fake.issuer,
                "egress_allow": (f"127.0.0.1:{fake.port}",),
                **{f"{name}_client_id": CLIENT_ID for name in ("oidc", "google", "github")},
                **{f"{name}_client_secret": "secret" for name in ("oidc", "google", "github")},
            }
        )
        yield fake


@pytest.fixture
def ann(org: Org) -> User:
    user = services.create_user("ann@example.org")
    services.add_member(org, user, ["viewer"])
    return user


def begin(client: Client, provider: str = "oidc", **more: Any) -> dict[str, str]:
    """Press the button; what the browser takes along to the provider."""
    answer = client.post(f"/auth/start/{provider}/", {"next": "/admin/"}, **FAR, **more)
    assert answer.status_code == 302, answer.content.decode()
    return {name: values[0] for name, values in parse_qs(urlsplit(answer["Location"]).query).items()}


def back(client: Client, sent: dict[str, str], provider: str = "oidc", **more: str) -> Any:
    return client.get(f"/auth/complete/{provider}/", {"code": "good", "state": sent["state"], **more}, **FAR)


def whole(client: Client, openid: FakeOpenId, **said: Any) -> Any:
    sent = begin(client)
    openid.nonce, openid.said = sent["nonce"], said
    return back(client, sent)


def last_reason() -> str:
    event = AuditEvent.objects.filter(kind="sign-in").order_by("-id").first()
    assert event is not None
    return event.reason


VERIFIED = {"email": "Ann@Example.org", "email_verified": True}


@pytest.mark.requirement("S7")
def test_a_verified_address_opens_the_prepared_account(client: Client, openid: FakeOpenId, ann: User) -> None:
    sent = begin(client)
    assert (sent["code_challenge_method"], len(sent["code_challenge"])) == ("S256", 43)
    assert sent["redirect_uri"].endswith("/auth/complete/oidc/")
    openid.nonce, openid.said = sent["nonce"], VERIFIED
    answer = back(client, sent)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert client.session["_auth_user_id"] == str(ann.pk)
    row = UserSocialAuth.objects.get(user=ann)
    assert row.extra_data == {"iss": openid.issuer, "sub": "s-1"}


def test_later_the_address_does_not_matter(client: Client, openid: FakeOpenId, ann: User) -> None:
    whole(client, openid, **VERIFIED)
    for said in ({"email": "new@example.org", "email_verified": False}, {}):
        again = Client()
        assert whole(again, openid, **said).status_code == 302
        assert again.session["_auth_user_id"] == str(ann.pk)


@pytest.mark.requirement("S7")
@pytest.mark.parametrize(
    ("said", "title", "cause"),
    [
        ({}, "did not say your e-mail", "without an e-mail"),
        ({"email": "ann@example.org"}, "not verified", "which is the address of somebody here"),
        ({"email": "ann@example.org", "email_verified": "yes"}, "not verified", "unverified address"),
        ({"email": "x@example.org", "email_verified": True}, "not a member yet", "is nobody here"),
        ({"sub": None, **VERIFIED}, "cannot be trusted", "missing_claim"),
        ({"exp": 1_000, "iat": 900, **VERIFIED}, "has ended", "response_expired"),
        ({"iss": "https://other.example", **VERIFIED}, "cannot be trusted", "(iss)"),
        ({"aud": "another client", **VERIFIED}, "cannot be trusted", "(aud)"),
        ({"nonce": "of another sign-in", **VERIFIED}, "has ended", "nonce_mismatch"),
        ({"nonce": None, **VERIFIED}, "has ended", "nonce_mismatch"),
        ({"azp": "another client", **VERIFIED}, "cannot be trusted", "(azp)"),
    ],
)
def test_a_word_that_does_not_hold_opens_nothing(
    client: Client, openid: FakeOpenId, ann: User, said: dict[str, Any], title: str, cause: str
) -> None:
    answer = whole(client, openid, **said)
    assert answer.status_code in (400, 403, 502)
    assert title in answer.content.decode().replace("&#x27;", "'")
    assert cause in last_reason()
    assert "_auth_user_id" not in client.session
    assert (User.objects.count(), UserSocialAuth.objects.count()) == (1, 0)


@pytest.mark.parametrize("forgery", ["unsigned", "another key", "shared secret"])
def test_a_token_that_the_issuer_did_not_sign_is_refused(
    client: Client, openid: FakeOpenId, ann: User, forgery: str
) -> None:
    if forgery == "unsigned":
        openid.algorithm = "none"
    elif forgery == "another key":
        openid.sign_with = openid.new_key("one")[1]
    else:
        openid.algorithm, openid.sign_with = "HS256", "secret of at least thirty-two bytes"
    answer = whole(client, openid, **VERIFIED)
    assert answer.status_code == 502
    assert "invalid_" in last_reason()
    assert "_auth_user_id" not in client.session


def test_a_disabled_person_stays_out(client: Client, openid: FakeOpenId, ann: User) -> None:
    whole(client, openid, **VERIFIED)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    again = Client()
    assert whole(again, openid, **VERIFIED).status_code == 403
    assert "_auth_user_id" not in again.session


@pytest.mark.parametrize("change", ["reused", "foreign", "missing", "another browser"])
def test_a_state_works_once_where_it_began(client: Client, openid: FakeOpenId, ann: User, change: str) -> None:
    sent = begin(client)
    openid.nonce, openid.said = sent["nonce"], VERIFIED
    tries = client
    if change == "reused":
        assert back(client, sent).status_code == 302
        client.logout()
    elif change == "another browser":
        tries = Client()
    elif change == "foreign":
        sent["state"] = "made up"
    else:
        sent["state"] = ""
    answer = back(tries, sent)
    assert (answer.status_code, "has ended" in answer.content.decode()) == (400, True)
    assert "_auth_user_id" not in tries.session


def test_an_answer_of_another_issuer_sends_the_code_nowhere(client: Client, openid: FakeOpenId, ann: User) -> None:
    sent = begin(client)
    answer = back(client, sent, iss="https://evil.example")
    assert (answer.status_code, "/token" in openid.asked) == (502, False)
    assert "another issuer" in last_reason()


def test_a_cancelled_sign_in_says_so(client: Client, openid: FakeOpenId, ann: User) -> None:
    sent = begin(client)
    answer = client.get("/auth/complete/oidc/", {"error": "access_denied", "state": sent["state"]}, **FAR)
    assert (answer.status_code, "You did not sign in" in answer.content.decode()) == (400, True)


@pytest.mark.parametrize(
    ("spoil", "title"),
    [
        (lambda fake: fake.document.update(issuer="https://other.example"), "not set up correctly"),
        (lambda fake: fake.document.update(authorization_endpoint="javascript:alert(1)"), "cannot be trusted"),
        (lambda fake: fake.answers.update({"/.well-known/openid-configuration": lambda _: (503, {})}), "not answer"),
        (lambda fake: fake.answers.update({"/.well-known/openid-configuration": lambda _: (200, b"<")}), "trusted"),
        (
            lambda fake: fake.answers.update({"/.well-known/openid-configuration": lambda _: (200, b" " * 600_000)}),
            "t",
        ),
    ],
)
def test_a_provider_that_cannot_be_used_is_a_sentence(
    client: Client, openid: FakeOpenId, ann: User, spoil: Callable[[FakeOpenId], None], title: str
) -> None:
    spoil(openid)
    answer = client.post("/auth/start/oidc/", **FAR)
    assert answer.status_code == 502
    assert title in answer.content.decode()


def test_a_provider_at_a_private_address_needs_to_be_allowed(
    client: Client, openid: FakeOpenId, ann: User, settings: Any
) -> None:
    settings.HUB = settings.HUB.model_copy(update={"egress_allow": ()})
    answer = client.post("/auth/start/oidc/", **FAR)
    assert (answer.status_code, openid.asked) == (502, [])
    assert "not a public address" in last_reason()


def test_a_provider_that_is_not_offered_is_unknown(client: Client, openid: FakeOpenId, settings: Any) -> None:
    settings.HUB = settings.HUB.model_copy(update={"sign_in": ("password",)})
    assert client.post("/auth/start/oidc/").status_code == 404
    assert client.get("/auth/complete/oidc/").status_code == 404
    assert client.post("/auth/start/nonsense/").status_code == 404


def test_pressing_the_button_again_and_again_is_throttled(client: Client, openid: FakeOpenId, ann: User) -> None:
    codes = [client.post("/auth/start/oidc/", REMOTE_ADDR="192.0.2.50").status_code for _ in range(11)]
    assert codes == [302] * 10 + [429]


def test_google_goes_by_its_discovery_document(
    client: Client, openid: FakeOpenId, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    google = providers.Provider("google", "Google", providers.PROVIDERS["google"].needs, openid.issuer)
    monkeypatch.setattr(providers, "PROVIDERS", {**providers.PROVIDERS, "google": google})
    monkeypatch.setattr(backends, "PROVIDERS", providers.PROVIDERS)
    sent = begin(client, "google")
    openid.nonce, openid.said = sent["nonce"], VERIFIED
    assert back(client, sent, "google").status_code == 302
    assert client.session["_auth_user_id"] == str(ann.pk)


@pytest.fixture
def github(openid: FakeOpenId, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with FakeGitHub() as fake:
        settings.HUB = settings.HUB.model_copy(update={"egress_allow": (f"127.0.0.1:{fake.port}",)})
        monkeypatch.setattr(backends.GitHub, "API_URL", f"{fake.url}/")
        monkeypatch.setattr(backends.GitHub, "ACCESS_TOKEN_URL", f"{fake.url}/login/oauth/access_token")
        yield fake


@pytest.mark.parametrize(
    ("emails", "status"),
    [
        ([{"email": "ann@example.org", "primary": True, "verified": True}], 302),
        ([{"email": "ann@example.org", "primary": True, "verified": False}], 403),
        ([{"email": "ann@example.org", "primary": False, "verified": True}], 403),
        ([], 403),
    ],
)
def test_github_is_taken_at_its_verified_primary_address(
    client: Client, github: FakeGitHub, ann: User, emails: list[dict[str, Any]], status: int
) -> None:
    github.emails = emails
    sent = begin(client, "github")
    assert sent["code_challenge_method"] == "S256"
    assert back(client, sent, "github").status_code == status
    assert github.forms[0]["code_verifier"]
    assert ("_auth_user_id" in client.session) == (status == 302)


def test_the_first_person_needs_the_machine_or_the_set_up_link(client: Client, openid: FakeOpenId, db: None) -> None:
    assert whole(client, openid, **VERIFIED).status_code == 403
    assert not User.objects.exists()
    from mcphub.accounts import links

    client.get(urlsplit(links.setup_link()).path)
    page = client.get("/set-password/").content.decode()
    assert "Continue with" in page
    assert whole(client, openid, **VERIFIED).status_code == 302
    assert Membership.objects.get(user__email="ann@example.org").roles == ["owner"]


def test_nothing_of_the_providers_tokens_is_kept(client: Client, openid: FakeOpenId, ann: User) -> None:
    whole(client, openid, **VERIFIED, groups=["a"], picture="https://x.example/y.png")
    member = Membership.objects.get(user=ann)
    assert member.claims["groups"] == ["a"]
    kept = str([member.claims, UserSocialAuth.objects.get().extra_data, dict(client.session)])
    assert "at-the-provider" not in kept
    assert "eyJ" not in kept
