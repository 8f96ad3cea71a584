"""People sign in at a certified OpenID provider, in Chromium."""

import re

import pytest
from playwright.sync_api import expect

from tests.signin.conftest import Chromium, SignInHub, picture, sign_in


def reasons(hub: SignInHub) -> str:
    """What the record says of sign-ins."""
    return hub.manage("export_audit")


@pytest.mark.slow
@pytest.mark.requirement("S7")
def test_the_first_person_at_the_machine_becomes_the_owner(signin_hub: SignInHub, chromium: Chromium) -> None:
    with chromium.person() as page:
        page.goto(f"{signin_hub.url}/sign-in/")
        picture(page, "sign-in")
        sign_in(page, signin_hub, "ann")
        assert page.url == f"{signin_hub.url}/"
        expect(page.get_by_text("ann@example.org").first).to_be_visible()
        me = page.request.get(f"{signin_hub.url}/api/v1/me").json()
        assert me["orgs"][0]["slug"] == "default"
        assert "manage_members" in me["orgs"][0]["rights"]


@pytest.mark.slow
@pytest.mark.requirement("S7")
def test_a_prepared_address_is_let_in_with_its_roles_and_survives_new_keys(
    signin_hub: SignInHub, chromium: Chromium
) -> None:
    signin_hub.manage("create_user", "dan@example.org", "--org", "default", "--role", "viewer")
    signin_hub.provider.rotate()
    with chromium.person() as page:
        sign_in(page, signin_hub, "dan")
        assert page.url == f"{signin_hub.url}/"
        rights = page.request.get(f"{signin_hub.url}/api/v1/me").json()["orgs"][0]["rights"]
        assert rights == ["read_audit", "view_config"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "heading", "cause"),
    [
        ("eve", "did not say your e-mail address", "subject eve"),
        ("bob", "Your e-mail address is not verified", "unverified address bob@example.org, which is the address of"),
    ],
)
def test_who_is_not_let_in_is_told_why_and_nothing_is_made(
    signin_hub: SignInHub, chromium: Chromium, subject: str, heading: str, cause: str
) -> None:
    signin_hub.manage("create_user", "bob@example.org", "--org", "default", "--role", "viewer", "--if-absent")
    with chromium.person() as page:
        sign_in(page, signin_hub, subject)
        expect(page.get_by_role("heading", name=re.compile(heading))).to_be_visible()
        picture(page, subject)
        assert page.request.get(f"{signin_hub.url}/api/v1/me").status == 401
    assert cause in reasons(signin_hub)


@pytest.mark.slow
def test_a_callback_works_once_and_only_in_the_browser_that_began(signin_hub: SignInHub, chromium: Chromium) -> None:
    seen: list[str] = []
    with chromium.person() as page, chromium.person() as thief:
        page.on("request", lambda request: seen.append(request.url))
        sign_in(page, signin_hub, "ann")
        callback = next(url for url in seen if "/auth/complete/oidc/?" in url)
        for other in (thief, page):
            other.goto(callback)
            expect(other.get_by_role("heading", name="This sign-in has ended")).to_be_visible()
        picture(thief, "ended")
        assert thief.request.get(f"{signin_hub.url}/api/v1/me").status == 401


@pytest.mark.slow
def test_a_provider_that_is_down_is_a_sentence(signin_hub: SignInHub, chromium: Chromium) -> None:
    signin_hub.provider.stop()
    signin_hub.terminate()
    signin_hub.restart()
    with chromium.person() as page:
        page.goto(f"{signin_hub.url}/sign-in/")
        page.get_by_role("button", name="Continue with").click()
        expect(page.get_by_role("heading", name=re.compile("does not answer"))).to_be_visible()
        picture(page, "down")
    assert "connection_failed" in reasons(signin_hub)
    signin_hub.provider.start()
    with chromium.person() as page:
        sign_in(page, signin_hub, "ann")
        assert page.url == f"{signin_hub.url}/"
