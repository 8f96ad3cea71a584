"""Whose account a call runs under: each person's own, the shared one, and never another."""

import asyncio
import json
import sqlite3
import uuid
from typing import Any

import httpx
import pytest

from tests.connect.conftest import ALICE, ALICES, BOB, BOBS, LEAVER, OWNER, SECOND, Place
from tests.harness.raw import ERAS, Era, RpcFailed, ask, raw_client
from tests.harness.waiting import until

PERSONAL = ("old", "new")
LEAVES = """
from mcphub.accounts import services
from mcphub.accounts.models import Membership
services.remove_member(Membership.objects.get(user__email="{0}"))
"""


def said(result: Any) -> str:
    """The text of a tool's result."""
    return str(result["content"][0]["text"])


def fault(result: Any) -> dict[str, Any]:
    """The hub's own words in a result that failed."""
    assert result["isError"], result
    found: dict[str, Any] = result["_meta"]["mcphub/error"]
    return found


def whoami(place: Place, email: str, slug: str) -> Any:
    """One call under the key of this person."""
    nonce = uuid.uuid4().hex
    call = {"name": f"{slug}__get_account", "arguments": {"nonce": nonce}}
    result = ask(place.hub.mcp_url, place.keys[email], "tools/call", call)
    if not result.get("isError"):
        assert said(result).endswith(nonce)
    return result


pytestmark = pytest.mark.usefixtures("nobody_is_connected")


@pytest.mark.requirement("C1", "C7")
def test_each_person_calls_under_their_own_account_and_nobody_under_anothers(place: Place) -> None:
    for slug in PERSONAL:
        place.connect(ALICE, slug, "alice-token")
        assert said(whoami(place, ALICE, slug)).startswith("alice ")
        missing = fault(whoami(place, BOB, slug))
        assert missing["reason"] == "needs_connection"
        assert missing["url"].startswith(place.hub.url)
        place.connect(BOB, slug, "bob-token")
        assert said(whoami(place, BOB, slug)).startswith("bob ")
        assert said(whoami(place, ALICE, slug)).startswith("alice ")


@pytest.mark.requirement("C1", "P10")
async def test_watching_without_an_account_is_answered_with_the_link(place: Place) -> None:
    async with raw_client(f"{place.hub.url}/old/mcp", place.keys[BOB], "handshake") as client:
        with pytest.raises(RpcFailed) as failed:
            await client.request("resources/subscribe", {"uri": "notes://a"})
    told = failed.value.error["data"]["mcphub/error"]
    assert (told["reason"], told["outcome"]) == ("needs_connection", "not_sent")
    assert told["url"].startswith(place.hub.url)


@pytest.mark.requirement("C1")
def test_a_change_of_account_holds_on_the_next_call(place: Place) -> None:
    place.connect(ALICE, "new", "alice-token")
    assert said(whoami(place, ALICE, "new")).startswith("alice ")
    place.connect(ALICE, "new", "bob-token")
    assert said(whoami(place, ALICE, "new")).startswith("bob ")
    place.disconnect(ALICE, "new")
    assert fault(whoami(place, ALICE, "new"))["reason"] == "needs_connection"


@pytest.mark.requirement("C1", "F41")
async def test_two_people_never_cross_in_either_era(place: Place) -> None:
    for email, token in ((ALICE, "alice-token"), (BOB, "bob-token")):
        for slug in PERSONAL:
            place.connect(email, slug, token)

    async def work(era: Era, email: str, slug: str, account: str) -> None:
        async with raw_client(place.hub.mcp_url, place.keys[email], era) as client:
            for _ in range(8):
                nonce = uuid.uuid4().hex
                answer = await client.call(f"{slug}__get_account", id=1, nonce=nonce)
                assert said(answer) == f"{account} {nonce}"

    pairs = [(ALICE, "alice"), (BOB, "bob")] * 2
    await asyncio.gather(*(work(era, pair[0], slug, pair[1]) for era in ERAS for slug in PERSONAL for pair in pairs))


@pytest.mark.requirement("C1", "U16")
def test_nothing_of_the_client_or_of_the_operators_stand_in_reaches_the_server(place: Place) -> None:
    place.connect(ALICE, "old", "alice-token")
    place.connect(ALICE, "new", "alice-token")
    for slug in PERSONAL:
        assert said(whoami(place, ALICE, slug)).startswith("alice ")
    assert fault(whoami(place, BOB, "old"))["reason"] == "needs_connection"
    sent = json.dumps([place.old.requests, place.new.requests])
    for secret in (*place.keys.values(), place.hub.key, "of-the-operator", "cookie", "csrf"):
        assert secret not in sent.lower() if secret in ("cookie", "csrf") else secret not in sent
    shown = {request.get("authorization") or request.get("x-api-key") for request in place.new.requests}
    assert shown <= {None, "alice-token", "bob-token"}


@pytest.mark.requirement("C1", "C3")
def test_the_shared_slot_is_connected_by_operators_only_and_taking_it_over_is_said(place: Place) -> None:
    place.connect(OWNER, "team", "team-token", account="the team's")
    until("the shared account's list", lambda: "team__get_account" in _tools(place, ALICE), 30)
    assert said(_call(place, ALICE, "team")).startswith("team ")
    page = f"/connect/{place.upstream_id('team')}/"
    with place.browser(ALICE) as browser:
        shown = browser.get(page)
        assert "key-form" not in shown
        assert "the team's" not in shown
    with pytest.raises(AssertionError):
        place.connect(ALICE, "team", "alice-token")
    with pytest.raises(AssertionError):
        place.connect(SECOND, "team", "bob-token")
    place.connect(SECOND, "team", "bob-token", take_over="on")
    assert said(_call(place, ALICE, "team")).startswith("bob ")
    kept = "".join(sqlite3.connect(place.hub.database).iterdump())
    assert "credential.take_over" in kept
    assert "bob-token" not in kept
    assert "team-token" not in kept


@pytest.mark.requirement("C3")
def test_a_key_that_the_server_refuses_is_not_kept(place: Place) -> None:
    with pytest.raises(AssertionError, match="did not accept"):
        place.connect(ALICE, "old", "no-such-token")
    with place.browser(ALICE) as browser:
        assert "not connected" in browser.get(f"/connect/{place.upstream_id('old')}/")


@pytest.mark.requirement("C1", "F09")
def test_a_key_that_is_refused_later_asks_for_another_and_comes_back_by_itself(place: Place) -> None:
    place.connect(ALICE, "old", "alice-token")
    assert said(whoami(place, ALICE, "old")).startswith("alice ")
    place.let_in(**{"bob-token": BOBS})
    assert fault(whoami(place, ALICE, "old"))["reason"] == "needs_connection"
    with place.browser(ALICE) as browser:
        assert "did not accept it" in browser.get("/connect/")
    place.let_in(**{"alice-token": ALICES})
    assert said(whoami(place, ALICE, "old")).startswith("alice ")
    with place.browser(ALICE) as browser:
        assert "did not accept it" not in browser.get("/connect/")


@pytest.mark.requirement("F10")
def test_rights_that_are_missing_are_named_with_the_page(place: Place) -> None:
    for slug in PERSONAL:
        place.connect(ALICE, slug, "bob-token")
        until("bob's tools", lambda slug=slug: f"{slug}__get_wide" in _tools(place, ALICE), 20)
        place.let_in(**{"bob-token": {**BOBS, "scopes": []}})
        call = {"name": f"{slug}__get_wide", "arguments": {"text": "x"}}
        missing = ask(place.hub.mcp_url, place.keys[ALICE], "tools/call", call)
        assert fault(missing)["reason"] == "needs_scope"
        assert "notes:write notes:read" in said(missing)
        assert fault(missing)["url"] in said(missing)
        place.let_in(**{"bob-token": BOBS})


@pytest.mark.requirement("C1")
def test_each_person_sees_what_their_own_account_is_offered(place: Place) -> None:
    assert "old" in _page(place, ALICE)["_meta"]["mcphub/connect"]
    place.connect(BOB, "old", "bob-token")
    until("bob's own list", lambda: "old__get_wide" in _tools(place, BOB), 20)
    assert "old" not in _page(place, BOB)["_meta"].get("mcphub/connect", {})
    assert "old__get_account" in _tools(place, ALICE), "something to connect for"
    place.connect(ALICE, "old", "alice-token")
    until("alice's own list", lambda: "old__get_wide" not in _tools(place, ALICE), 20)
    assert "old__get_account" in _tools(place, ALICE)
    assert "old__get_wide" in _tools(place, BOB)
    with pytest.raises(RpcFailed):
        _call(place, ALICE, "old", "get_wide")


@pytest.mark.requirement("T4", "C1")
def test_with_the_membership_goes_the_account(place: Place) -> None:
    place.connect(LEAVER, "old", "alice-token")
    assert said(whoami(place, LEAVER, "old")).startswith("alice ")
    with place.browser(OWNER) as browser:
        listed = browser.get("/admin/upstreams/credential/")
        assert LEAVER in listed
        assert "alice-token" not in listed
        place.hub.manage("shell", "--no-imports", "-c", LEAVES.format(LEAVER))
        assert LEAVER not in browser.get("/admin/upstreams/credential/")


def _tools(place: Place, email: str) -> list[str]:
    return [tool["name"] for tool in _page(place, email)["tools"]]


def _page(place: Place, email: str) -> Any:
    return {"_meta": {}, **ask(place.hub.mcp_url, place.keys[email], "tools/list", {})}


def _call(place: Place, email: str, slug: str, tool: str = "get_account") -> Any:
    arguments = {"nonce": "n"} if tool == "get_account" else {"text": "x"}
    return ask(
        place.hub.mcp_url, place.keys[email], "tools/call", {"name": f"{slug}__{tool}", "arguments": arguments}
    )


def test_strangers_see_no_page(place: Place) -> None:
    answer = httpx.get(f"{place.hub.url}/connect/", trust_env=False)
    assert answer.status_code == httpx.codes.FOUND
    assert answer.headers["location"].startswith("/sign-in/")
