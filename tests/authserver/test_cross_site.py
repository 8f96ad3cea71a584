"""Another site in the same browser can neither answer the consent page for a person nor show it to them (S1, F53)."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, Route

from tests.authserver.chromium import chromium, let_in, person, sign_in
from tests.authserver.flow import pkce
from tests.authserver.loopback import Loopback, loopback
from tests.harness.hub import Hub

EVIL = "http://evil.example/"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder: Path = tmp_path_factory.mktemp("cross-site")
    with Hub(folder / "hub") as hub:
        yield hub.up()


def link(hub: Hub, at: Loopback) -> str:
    """Where a client sends the person's browser."""
    asked = {
        "response_type": "code",
        "client_id": "mcphub-cli",
        "redirect_uri": at.redirect_uri,
        "state": "s",
        "code_challenge": pkce()[1],
        "code_challenge_method": "S256",
    }
    return f"{hub.url}/oauth/authorize?{urlencode(asked)}"


async def visit(page: Page, body: str) -> None:
    """Open a page of the other site that holds this."""

    async def answer(route: Route) -> None:
        await route.fulfill(body=f"<!doctype html><title>evil</title>{body}", content_type="text/html")

    await page.context.route(f"{EVIL}**", answer)
    await page.goto(EVIL)


@pytest.mark.requirement("S1")
async def test_another_site_cannot_answer_for_a_person(hub: Hub) -> None:
    """With everything that the consent page holds, as if the other site had read it."""
    async with chromium() as browser, person(browser) as page, loopback() as at:
        await page.goto(link(hub, at))
        await sign_in(page, "ann@example.org")
        await page.wait_for_selector("#consent")
        form = await page.locator("#consent").evaluate("form => form.outerHTML")
        other = await page.context.new_page()
        answering = re.sub(r'action="[^"]*"', f'action="{hub.url}/oauth/authorize"', form)
        allowing = answering.replace("</form>", '<input type="hidden" name="answer" value="allow"></form>')
        async with other.expect_response(lambda response: "/oauth/authorize" in response.url) as answered:
            await visit(other, f"{allowing}<script>HTMLFormElement.prototype.submit.call(document.forms[0])</script>")
        assert (await answered.value).status == 403
        assert at.is_empty
        await other.goto(f"{hub.url}/oauth/applications/")
        assert "None." in await other.inner_text("main")
        await let_in(page)
        assert (await at.answer())["state"] == "s"


@pytest.mark.requirement("S1")
async def test_another_site_cannot_show_the_page_in_a_frame(hub: Hub) -> None:
    async with chromium() as browser, person(browser) as page, loopback() as at:
        await page.goto(f"{hub.url}/sign-in/")
        await sign_in(page, "ann@example.org")
        await visit(page, f'<iframe src="{link(hub, at).replace("&", "&amp;")}"></iframe>')
        await page.wait_for_timeout(500)
        framed = page.frames[1]
        assert not await framed.locator("#consent").count()
        assert framed.url.startswith("chrome-error:") or "oauth" not in await framed.content()
        assert at.is_empty
