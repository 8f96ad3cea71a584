"""A person at the hub's pages, without a browser: forms are read from the page and sent as it holds them."""

from html.parser import HTMLParser
from typing import Any, Final, Self

import httpx


class Browser:
    """Signed in through the development picker of a standalone hub."""

    def __init__(self, url: str) -> None:
        self._http: Final = httpx.Client(base_url=url, headers={"Origin": url}, trust_env=False, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def sign_in(self, email: str) -> None:
        """Choose an e-mail address. The first person of a hub becomes its owner."""
        self.get("/sign-in/")
        answer = self._post("/sign-in/", {"way": "dev", "email": email})
        assert answer.status_code == httpx.codes.FOUND, answer.text

    def get(self, path: str, *, status: int = httpx.codes.OK) -> str:
        """The page behind a path."""
        answer = self._http.get(path)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.headers.get('location')}"
        return answer.text

    def submit(self, path: str, form: str, *, to: str = "", **changes: Any) -> str:
        """Fill in the form with this id and send it to the page itself, or `to` where it says; where that leads.

        A page with faults is an `AssertionError`.
        """
        fields = _Form(form, self.get(path)).fields | changes
        answer = self._post(to or path, fields)
        assert answer.status_code == httpx.codes.FOUND, _faults(answer.text)
        return answer.headers["location"]

    def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form of the test's own making, as a page of the hub would."""
        return self._post(path, fields)

    def _post(self, path: str, fields: dict[str, Any]) -> httpx.Response:
        token = self._http.cookies["mcphub_csrf"]
        return self._http.post(path, data=fields, headers={"X-CSRFToken": token, "Referer": str(self._http.base_url)})


class _Form(HTMLParser):
    """What a browser would send of one form as it stands."""

    def __init__(self, id: str, page: str) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}
        self._id: Final = id
        self._inside = False
        self._name = ""
        self._textarea = False
        self.feed(page)
        assert self.fields, f"no form {id} on the page"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._inside = found.get("id") == self._id
        elif self._inside and tag in ("textarea", "select"):
            self._name, self._textarea = found.get("name", ""), tag == "textarea"
            if self._textarea:
                self.fields[self._name] = ""
        elif self._inside and tag == "option" and any(name == "selected" for name, _ in attributes):
            self._add(self._name, found.get("value", ""))
        elif self._inside and tag == "input" and found.get("name"):
            self._input(found, checked=any(name == "checked" for name, _ in attributes))

    def _input(self, found: dict[str, str], *, checked: bool) -> None:
        kind = found.get("type", "text")
        if kind in ("checkbox", "radio"):
            if checked:
                self._add(found["name"], found.get("value", "on"))
        elif kind not in ("submit", "button", "file"):
            self.fields[found["name"]] = found.get("value", "")

    def _add(self, name: str, value: str) -> None:
        before = self.fields.get(name)
        self.fields[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._name] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "textarea":
            self._textarea = False


def _faults(page: str) -> str:
    """The part of a page that says what is wrong with the form."""
    at = max(page.find("errornote"), page.find("errorlist"), page.find('class="fault'))
    return page[at : at + 600] if at >= 0 else page[:600]
