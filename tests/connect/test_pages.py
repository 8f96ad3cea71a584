"""A call that needs an account, while it is under way: each kind of client is sent to the page in its own way."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Page, async_playwright

from tests.connect.conftest import ALICE, BOB, BOBS, OWNER, Place, guarded_place
from tests.harness.raw import ACCEPT, HANDSHAKE, PROTOCOL, answer_of, ask, raw_client

CHROMIUM: Final = "/usr/bin/chromium"
ASKABLE: Final = {"elicitation": {"url": {}}}
CALL: Final = {"name": "new__get_account", "arguments": {"nonce": "n"}}


def modern(place: Place, email: str, capabilities: Any = ASKABLE, **round_: Any) -> Any:
    """One round of the call by a modern client with these capabilities."""
    params = {**CALL, **round_, "_meta": {f"{PROTOCOL}/clientCapabilities": capabilities}}
    return ask(place.hub.mcp_url, place.keys[email], "tools/call", params)


def said(result: Any) -> str:
    return str(result["content"][0]["text"])


@asynccontextmanager
async def chromium(place: Place, email: str) -> AsyncIterator[Page]:
    """A real browser in which somebody is signed in."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = await browser.new_page()
            await page.goto(f"{place.hub.url}/sign-in/")
            await page.get_by_role("button", name=email).click()
            await page.wait_for_url(f"{place.hub.url}/")
            yield page
        finally:
            await browser.close()


async def paste(page: Page, url: str, key: str) -> None:
    """Open a link and paste a key there."""
    await page.goto(url)
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Connect", exact=True).click()
    await page.get_by_text("is connected.").wait_for()


@pytest.fixture(autouse=True)
def something_to_connect_for(place: Place, nobody_is_connected: None) -> None:
    place.connect(BOB, "new", "bob-token")


@pytest.mark.requirement("C3")
async def test_a_modern_client_is_asked_in_mid_call_and_goes_on_when_the_person_has_connected(place: Place) -> None:
    asked = await asyncio.to_thread(modern, place, ALICE)
    assert asked["resultType"] == "input_required"
    ((key, question),) = asked["inputRequests"].items()
    assert question["params"]["mode"] == "url"
    url = question["params"]["url"]
    assert url.startswith(f"{place.hub.url}/connect/link/")
    round_ = {"inputResponses": {key: {"action": "accept"}}, "requestState": asked["requestState"]}
    async with chromium(place, ALICE) as page:
        early = asyncio.create_task(asyncio.to_thread(modern, place, ALICE, **round_))
        await paste(page, url, "alice-token")
    assert said(await early) == "alice n"
    assert said(await asyncio.to_thread(modern, place, ALICE)) == "alice n"


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Place]:
    """A place where a retry waits a second for its person, not twenty."""
    with guarded_place(tmp_path, limits="page_wait_s=1") as place:
        place.let_in(**{"bob-token": BOBS})
        place.connect(BOB, "new", "bob-token")
        yield place


@pytest.mark.requirement("C3")
def test_a_retry_without_a_connection_is_asked_again_and_declining_ends_the_call(hasty: Place) -> None:
    asked = modern(hasty, ALICE)
    state = {"requestState": asked["requestState"]}
    declined = modern(hasty, ALICE, inputResponses={"page": {"action": "decline"}}, **state)
    assert declined["_meta"]["mcphub/error"]["outcome"] == "not_sent"
    again = modern(hasty, ALICE, inputResponses={"page": {"action": "accept"}}, **state)
    assert again["resultType"] == "input_required"


@pytest.mark.requirement("C3")
async def test_a_client_of_2025_11_25_gets_the_page_as_an_error_and_hears_when_it_is_done(place: Place) -> None:
    key = place.keys[ALICE]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {key}"}
        hello = {"protocolVersion": HANDSHAKE, "capabilities": ASKABLE, "clientInfo": {"name": "raw", "version": "1"}}
        begun = await http.post(place.hub.mcp_url, json=_message("initialize", hello), headers=headers)
        headers |= {"MCP-Protocol-Version": HANDSHAKE, "Mcp-Session-Id": begun.headers["mcp-session-id"]}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await http.post(place.hub.mcp_url, json=ready, headers=headers)

        async def call() -> dict[str, Any]:
            return answer_of(await http.post(place.hub.mcp_url, json=_message("tools/call", CALL), headers=headers))

        async with http.stream("GET", place.hub.mcp_url, headers=headers) as news:
            error = (await call())["error"]
            assert error["code"] == -32042
            (elicitation,) = error["data"]["elicitations"]
            assert elicitation["mode"] == "url"
            async with chromium(place, ALICE) as page:
                await paste(page, elicitation["url"], "alice-token")
            async with asyncio.timeout(20):
                async for line in news.aiter_lines():
                    if "notifications/elicitation/complete" in line:
                        break
            assert elicitation["elicitationId"] in line
        assert said((await call())["result"]) == "alice n"


@pytest.mark.requirement("C3", "C1")
async def test_every_other_client_gets_the_link_in_a_result(place: Place) -> None:
    result = await asyncio.to_thread(modern, place, ALICE, {})
    assert result["isError"]
    assert result["_meta"]["mcphub/error"]["url"] in said(result)
    async with raw_client(place.hub.mcp_url, place.keys[ALICE], "handshake") as client:
        result = await client.call(CALL["name"], nonce="n")
    assert result["_meta"]["mcphub/error"]["reason"] == "needs_connection"


@pytest.mark.requirement("C3")
def test_a_link_is_one_persons_and_ends(place: Place) -> None:
    url = modern(place, ALICE, {})["_meta"]["mcphub/error"]["url"]
    path = url.removeprefix(place.hub.url)
    assert "alice" not in url
    assert httpx.get(url, trust_env=False).headers["location"].startswith("/sign-in/?next=/connect/link/")
    for stranger in (BOB, OWNER):
        with place.browser(stranger) as browser:
            assert "for somebody else" in browser.get(path, status=403)
    with place.browser(ALICE) as browser:
        assert "key-form" in browser.get(path)
        assert "has ended" in browser.get(f"{path[:-9]}AAAAAAAA/", status=410)


@pytest.mark.requirement("C3", "O8")
async def test_after_the_page_the_call_is_decided_anew(place: Place) -> None:
    asked = await asyncio.to_thread(modern, place, ALICE)
    round_ = {"inputResponses": {"page": {"action": "accept"}}, "requestState": asked["requestState"]}
    members = f"{place.hub.url}/api/v1/orgs/default/members/{ALICE}"
    by_owner = {"Authorization": f"Bearer {place.keys[OWNER]}"}
    async with httpx.AsyncClient(headers=by_owner, trust_env=False) as http:
        await asyncio.to_thread(place.paste, ALICE, "new", "alice-token")
        assert (await http.put(members, json={"roles": ["member"]})).is_success
        try:
            answer = await asyncio.to_thread(modern_or_error, place, ALICE, **round_)
        finally:
            assert (await http.put(members, json={"roles": ["viewer"]})).is_success
    assert "alice" not in str(answer)


def modern_or_error(place: Place, email: str, **round_: Any) -> Any:
    from tests.harness.raw import RpcFailed

    try:
        return modern(place, email, **round_)
    except RpcFailed as failed:
        return failed.error


def _message(method: str, params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": time.monotonic_ns(), "method": method, "params": params}
