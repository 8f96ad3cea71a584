"""A hub with a real OpenID provider, and a person with a real browser."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.harness.hub import Hub
from tests.harness.provider import OpenIdProvider
from tests.harness.services import program


class SignInHub(Hub):
    """Standalone, on loopback, with people who sign in at a provider."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, sign_in="oidc,password")
        self.provider = OpenIdProvider(folder, [f"{self.url}/auth/complete/oidc/"])
        self.environment |= {
            "MCPHUB_OIDC_ISSUER": self.provider.issuer,
            "MCPHUB_OIDC_CLIENT_ID": self.provider.client_id,
            "MCPHUB_OIDC_CLIENT_SECRET": self.provider.client_secret,
            "MCPHUB_EGRESS_ALLOW": f"127.0.0.1:{self.provider.port}",
        }


@pytest.fixture(scope="module")
def signin_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInHub]:
    with SignInHub(tmp_path_factory.mktemp("signin")) as hub, hub.provider:
        yield hub.up()


@pytest.fixture(scope="module")
def chromium() -> Iterator["Chromium"]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
        yield Chromium(browser)
        browser.close()


class Chromium:
    """Gives each person a browser of their own."""

    def __init__(self, browser: object) -> None:
        self._browser = browser

    @contextmanager
    def person(self) -> Iterator[Page]:
        """A fresh browser: no cookies, nothing remembered."""
        context: BrowserContext = self._browser.new_context()  # type: ignore[attr-defined]
        context.set_default_timeout(20_000)
        try:
            yield context.new_page()
        finally:
            context.close()


def picture(page: Page, name: str) -> None:
    """Desktop and phone, light and dark, into the folder named by MCPHUB_TEST_PICTURES; nothing without one."""
    folder = os.environ.get("MCPHUB_TEST_PICTURES")
    if not folder:
        return
    for width, height, size in ((1280, 800, "desktop"), (390, 844, "phone")):
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.screenshot(path=f"{folder}/{name}-{size}-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 800})


def sign_in(page: Page, hub: SignInHub, subject: str) -> None:
    """Through the provider's own pages, as a person does."""
    page.goto(f"{hub.url}/sign-in/")
    page.get_by_role("button", name="Continue with").click()
    page.locator("input[name=login]").fill(subject)
    page.locator("input[name=password]").fill("anything")
    page.locator("button[type=submit]").click()
    page.wait_for_load_state()
    if page.url.startswith(hub.provider.issuer):
        page.locator("button[type=submit]").click()
        page.wait_for_load_state()
