"""Who may answer, and what an answer is worth that comes twice, late, or from somebody else."""

import sqlite3
from contextlib import closing

import httpx
import pytest
from playwright.sync_api import sync_playwright

from tests.approvals.conftest import ALICE, BOB, OTHER, OWNER, Place, id_of, page_of, settled

CHROMIUM = "/usr/bin/chromium"


@pytest.mark.requirement("O10")
def test_the_link_shows_the_caller_how_it_stands_and_lets_only_approvers_answer(place: Place) -> None:
    asked = place.mark("link")
    id = id_of(page_of(asked))
    path = f"/org/default/approvals/{id}/"
    assert (
        httpx.get(page_of(asked), trust_env=False)
        .headers["location"]
        .startswith("/sign-in/?next=/org/default/approvals/")
    )
    with place.browser(ALICE) as browser:
        page = browser.get(path)
        assert "Your call" in page
        assert "answer-" not in page
        browser.get("/org/default/approvals/", status=404)
    with place.browser(BOB) as browser:
        browser.get(path, status=404)
    for email in (ALICE, BOB):
        assert _post(place, email, f"{path}answer/", answer="0") == 404
        assert _post(place, email, f"{path}revoke/") == 404
        assert place.api("POST", f"approvals/{id}/approve", email, seconds=0).status_code == 403
        assert place.api("GET", "approvals", email).status_code == 403
    assert place.mark("link")["resultType"] == "input_required"


@pytest.mark.requirement("O10")
def test_the_second_answer_changes_nothing_and_says_so(place: Place) -> None:
    id = id_of(page_of(place.mark("twice")))
    place.answer(id, OWNER, "deny", note="no")
    with place.browser(OTHER) as second:
        second.get("/")
        assert second.post(f"/org/default/approvals/{id}/answer/", answer="0").status_code == httpx.codes.FOUND
        assert f"{OWNER} has answered already: denied." in second.get("/org/default/approvals/")
    assert place.api("GET", f"approvals/{id}").json()["state"] == "denied"
    again = place.api("POST", f"approvals/{id}/approve", OTHER, seconds=0)
    assert again.status_code == 409
    assert f"{OWNER} has answered already: denied." in again.json()["error"]["message"]


@pytest.mark.requirement("O10")
def test_nobody_approves_their_own_call_unless_the_org_allows_it_and_then_only_in_the_browser(place: Place) -> None:
    asked = place.mark("own", OTHER)
    id = id_of(page_of(asked))
    with place.browser(OTHER) as browser:
        assert "somebody else has to approve it" in browser.get(f"/org/default/approvals/{id}/")
        assert browser.post(f"/org/default/approvals/{id}/answer/", answer="0").status_code == httpx.codes.FOUND
        assert "somebody else has to approve it" in browser.get("/org/default/approvals/")
    assert place.api("POST", f"approvals/{id}/approve", OTHER, seconds=0).status_code == 409
    assert place.api("PUT", "approval-settings", own_calls=True).is_success
    try:
        refused = place.api("POST", f"approvals/{id}/approve", OTHER, seconds=0)
        assert "Nobody approves their own call with the key" in refused.json()["error"]["message"]
        place.answer(id, OTHER, "0")
    finally:
        assert place.api("PUT", "approval-settings", own_calls=False).is_success
    assert not place.mark("own", OTHER, **settled(asked)).get("isError")


@pytest.mark.requirement("O10")
def test_whoever_made_a_service_key_does_not_approve_its_calls(place: Place) -> None:
    made = place.api("PUT", "keys/robot", OWNER, roles=["viewer"]).json()
    place.keys["robot"] = made["key"]
    id = id_of(page_of(place.mark("robot", "robot")))
    assert place.api("POST", f"approvals/{id}/approve", OWNER, seconds=0).status_code == 409
    assert place.api("POST", f"approvals/{id}/approve", OTHER, seconds=0).is_success
    assert not place.mark("robot", "robot").get("isError")


@pytest.mark.requirement("O10")
def test_what_nobody_answers_in_time_is_over_and_asked_about_anew(place: Place) -> None:
    asked = place.mark("late")
    id = id_of(page_of(asked))
    with closing(sqlite3.connect(place.hub.database, timeout=30)) as database, database:
        late = ["2020-01-01 00:00:00", id.replace("-", "")]
        assert database.execute("UPDATE policies_callapproval SET ends_at = ? WHERE id = ?", late).rowcount == 1
    late = place.api("POST", f"approvals/{id}/approve", OTHER, seconds=0)
    assert late.status_code == 409
    assert place.api("GET", f"approvals/{id}").json()["state"] == "expired"
    anew = place.mark("late", **settled(asked))
    assert page_of(anew) != page_of(asked)


@pytest.mark.requirement("O10")
def test_two_people_in_two_browsers(place: Place) -> None:
    """The inbox fills by itself, nothing of the arguments stays hidden, and the caller's page follows along."""
    word = "browser-\u202etxt.exe"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        approver, caller = browser.new_context().new_page(), browser.new_context().new_page()
        for page, email in ((approver, OWNER), (caller, ALICE)):
            page.goto(f"{place.hub.url}/sign-in/")
            page.get_by_role("button", name=email).click()
            page.wait_for_url(f"{place.hub.url}/")
        approver.goto(f"{place.hub.url}/org/default/approvals/")
        asked = place.mark(word)
        url = page_of(asked)
        caller.goto(url)
        caller.get_by_text("waiting", exact=True).wait_for()
        card = approver.locator(
            "section.card", has=approver.locator(f"a[href='/org/default/approvals/{id_of(url)}/']")
        ).first
        card.wait_for(timeout=30_000)
        assert "U+202E RIGHT-TO-LEFT OVERRIDE" in card.inner_text()
        assert ALICE in card.inner_text()
        assert "marks stay" in card.inner_text()
        card.get_by_role("button", name="Approve once").click()
        approver.get_by_text("Approved:").wait_for()
        caller.get_by_text("approved", exact=True).wait_for(timeout=30_000)
        browser.close()
    assert not place.mark(word, **settled(asked)).get("isError")


def _post(place: Place, email: str, path: str, **fields: str) -> int:
    with place.browser(email) as browser:
        browser.get("/")
        return browser.post(path, **fields).status_code
