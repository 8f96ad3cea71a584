"""A person who connects accounts: signed in to the hub, walking through authorization servers without a browser."""

import re
from html.parser import HTMLParser
from typing import Any, Final, Self

import httpx

BEGIN: Final = "/connect/begin/"


class _Home(httpx.BaseTransport):
    """The hub's public name leads to its port on this machine; everything else to where it says."""

    def __init__(self, public: str, port: int) -> None:
        self._public: Final = httpx.URL(public)
        self._port: Final = port
        self._web: Final = httpx.HTTPTransport(trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == self._public.host and request.url.port == self._public.port:
            url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
            headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
            headers.append((b"host", f"127.0.0.1:{self._port}".encode()))
            request = httpx.Request(request.method, url, headers=headers, stream=request.stream)
        return self._web.handle_request(request)

    def close(self) -> None:
        self._web.close()


class Person:
    """One person's browser: cookies of the hub and of every other place that it is sent to."""

    def __init__(self, port: int, email: str, public: str = "") -> None:
        self.home: Final = public or f"http://127.0.0.1:{port}"
        self._web: Final = httpx.Client(transport=_Home(self.home, port), timeout=30)
        self._origin: Final = f"http://127.0.0.1:{port}"
        self.get("/sign-in/")
        answer = self.post("/sign-in/", {"way": "dev", "email": email})
        assert answer.status_code == httpx.codes.FOUND, answer.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._web.close()

    def get(self, url: str) -> httpx.Response:
        """One page, redirects left alone; a path is the hub's."""
        return self._web.get(url if "://" in url else self.home + url)

    def post(self, path: str, fields: dict[str, Any]) -> httpx.Response:
        """A form sent to the hub."""
        names = ("mcphub_csrf", "__Host-csrf")
        token = next((cookie.value for cookie in self._web.cookies.jar if cookie.name in names), "") or ""
        headers = {"X-CSRFToken": token, "Origin": self._origin, "Referer": self._origin}
        return self._web.post(self.home + path, data=fields, headers=headers)

    def known_as(self, login: str) -> Self:
        """Be this account at authorization servers of the tests."""
        self._web.cookies.set("login", login, domain="127.0.0.1")
        return self

    def begin(self, upstream_id: str, holder: str, **fields: str) -> httpx.Response:
        """Press the button of the connect page."""
        return self.post(f"{BEGIN}{upstream_id}/", {"holder": holder, **fields})

    def press(self, page: httpx.Response) -> httpx.Response:
        """Press the button of a page that begins to connect, as it stands."""
        form = _BeginForm(page.text)
        assert form.action, words(page)
        return self.post(form.action, form.fields)

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


class _BeginForm(HTMLParser):
    """The form of a page that begins to connect."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._inside = BEGIN in found.get("action", "")
            self.action = found["action"] if self._inside else self.action
        elif tag == "input" and self._inside and found.get("name"):
            self.fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"


def words(page: httpx.Response) -> str:
    """What a page says, without its markup."""
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", page.text, flags=re.DOTALL)
    return " ".join(text.split())
