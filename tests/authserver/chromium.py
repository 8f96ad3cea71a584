"""People at the hub's pages in a real browser, each with cookies of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from playwright.async_api import Browser, Page, async_playwright

from tests.harness.services import program

WAIT_MS: Final = 30_000


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser; each of its contexts is another person's."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def person(browser: Browser, **look: Any) -> AsyncIterator[Page]:
    """A page in cookies of its own."""
    context = await browser.new_context(**look)
    context.set_default_timeout(WAIT_MS)
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def sign_in(page: Page, email: str) -> None:
    """Choose this person at the development picker that the page shows."""
    await page.fill("#pick", email)
    await page.click("button:has-text('Continue')")


async def let_in(page: Page, org: str = "") -> None:
    """Agree on the consent page that the browser shows; `org` is the slug to choose where there are several."""
    await page.wait_for_selector("#consent")
    if org:
        await page.check(f"label:has-text('{org}') input")
    await page.click("button:has-text('Let it in')")
