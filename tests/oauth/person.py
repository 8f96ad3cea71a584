"""A person who connects accounts: signed in to the hub, walking through authorization servers without a browser."""

import re
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from tests.harness.hub import Hub


class Person:
    """One person's browser: cookies of the hub and of every other place that it is sent to."""

    def __init__(self, hub: Hub, email: str) -> None:
        self._hub: Final = hub
        self._web: Final = httpx.Client(trust_env=False, timeout=30, headers={"Origin": hub.url})
        self.get("/sign-in/")
        answer = self.post("/sign-in/", {"way": "dev", "email": email})
        assert answer.status_code == httpx.codes.FOUND, answer.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._web.close()

    def get(self, url: str) -> httpx.Response:
        """One page, redirects left alone; a path is the hub's."""
        return self._web.get(url if "://" in url else self._hub.url + url)

    def post(self, path: str, fields: dict[str, Any]) -> httpx.Response:
        """A form sent to the hub."""
        token = self._web.cookies.get("mcphub_csrf", domain="127.0.0.1") or ""
        headers = {"X-CSRFToken": token, "Referer": self._hub.url}
        return self._web.post(self._hub.url + path, data=fields, headers=headers)

    def known_as(self, login: str) -> Self:
        """Be this account at authorization servers of the tests."""
        self._web.cookies.set("login", login, domain="127.0.0.1")
        return self

    def begin(self, upstream_id: str, holder: str, **fields: str) -> httpx.Response:
        """Press the button of the connect page."""
        return self.post(f"/connect/begin/{upstream_id}/", {"holder": holder, **fields})

    def follow(self, answer: httpx.Response, until: str = "") -> httpx.Response:
        """Go where redirects lead, to a page, or to the redirect whose place holds `until`."""
        for _ in range(20):
            place = answer.headers.get("location", "")
            if not answer.is_redirect or (until and until in place):
                return answer
            answer = self.get(str(answer.url.join(place)))
        raise AssertionError(f"redirected for ever, at last to {place}")

    def connect(self, upstream_id: str, holder: str, **fields: str) -> httpx.Response:
        """The whole way; the page at its end."""
        return self.follow(self.begin(upstream_id, holder, **fields))


def words(page: httpx.Response) -> str:
    """What a page says, without its markup."""
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", page.text, flags=re.DOTALL)
    return " ".join(text.split())


def host_of(url: str) -> str:
    """Host and port."""
    return urlsplit(url).netloc
