"""Every URL of Django's table × everybody × every id (F51): what is not yours answers as what is not there."""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.test import RequestFactory, override_settings
from django.test.client import ClientHandler
from django.urls import URLPattern, URLResolver, get_resolver

from mcphub.accounts.acts import facts
from tests.isolation import world as worlds
from tests.isolation.audiences import (
    ADMIN,
    BY_PROTOCOL,
    INSIDE,
    OF_NO_ORG,
    PARAMETERS,
    PEOPLE,
    URLS,
    Audience,
    Pages,
)
from tests.isolation.world import World

pytestmark = pytest.mark.django_db

FORM: Final = "application/x-www-form-urlencoded"
METHODS: Final = ("GET", "POST")
API_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
REFUSALS: Final = {401, 403, 404, 405, 410}
UNREADABLE: Final = {400, 415, 422}
PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>")
GROUP: Final = re.compile(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)")
NOISE: Final = (
    re.compile(r'csrfmiddlewaretoken" value="[^"]+"'),
    re.compile(r'X-CSRFToken": "[^"]+"'),
    re.compile(r"(?:nonce|integrity)=\"[^\"]+\""),
)


def routes() -> list[str]:
    """Every route of the project, with `<name>` for what varies."""
    return list(dict.fromkeys(_walk(get_resolver().url_patterns, "")))


def _walk(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[str]:
    for item in patterns:
        own = GROUP.sub(r"<\1>", str(item.pattern)).replace("^", "").replace("$", "").replace(r"\Z", "")
        if isinstance(item, URLResolver):
            yield from _walk(item.url_patterns, before + own)
        else:
            yield before + own


def registered() -> dict[Any, Any]:
    """The admin's pages, which come with the URLs."""
    routes()
    return admin.site._registry


def model_pages() -> dict[str, tuple[str, str]]:
    """The usual pages of every registered model: route → label, kind."""
    kinds = {
        "": "list",
        "add/": "add",
        "<path:object_id>/": "row",
        "<path:object_id>/change/": "change",
        "<path:object_id>/history/": "history",
        "<path:object_id>/delete/": "delete",
    }
    found = {}
    for model in registered():
        label = model._meta.label_lower
        for end, kind in kinds.items():
            found[f"admin/{label.replace('.', '/')}/{end}"] = (label, kind)
    return found


def test_every_url_has_an_audience() -> None:
    known, pages = set(routes()), model_pages()
    unstated = known - set(URLS) - BY_PROTOCOL - set(pages)
    assert not unstated, "say for whom these are, in tests/isolation/audiences.py"
    assert not (set(URLS) | BY_PROTOCOL) - known, "these are gone"


def test_every_admin_page_has_an_audience_and_a_row() -> None:
    models = {model._meta.label_lower for model in registered()}
    assert models == set(ADMIN), "tests/isolation/audiences.py, ADMIN"
    assert models == set(worlds.ROWS), "tests/isolation/world.py, ROWS"


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    hub = settings.HUB.model_copy(update={"mode": "cloud", "sign_in": ("password",)})
    with django_db_blocker.unblock(), override_settings(HUB=hub), transaction.atomic():
        yield worlds.make()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def browsers(world: World) -> dict[str, str]:
    """The cookies of everybody."""
    return {who: world.client(who).cookies.output(header="", sep=";").split(";")[0] for who in PEOPLE}


factory: Final = RequestFactory()
handler: Final = ClientHandler(enforce_csrf_checks=False)


def ask(cookie: str, method: str, path: str, form: dict[str, Any] | None = None) -> Any:
    """What whoever has this cookie is answered; nothing that the request changes stays.

    Not by Django's client, which copies every context of every template.
    """
    body = urlencode(form or {}, doseq=True)
    request = factory.generic(
        method, path, body if method != "GET" else "", FORM, HTTP_COOKIE=cookie, HTTP_HOST="testserver"
    )
    with transaction.atomic():
        answer = handler(request.environ)
        transaction.set_rollback(True)
    return answer


def seen(answer: Any, ids: dict[str, str]) -> tuple[Any, ...]:
    """An answer without what differs from one request to the next, and with the ids as if nobody had them."""
    body = "" if answer.streaming else answer.content.decode()
    place = answer.headers.get("Location", "")
    for pattern in NOISE:
        body = pattern.sub("", body)
    for own, nobodys in sorted(ids.items(), key=lambda pair: -len(pair[0])):
        body, place = body.replace(own, nobodys), place.replace(own, nobodys)
    return answer.status_code, place, answer.headers.get("Content-Type"), body


def is_refusal(answer: Any, api: bool = False) -> bool:
    if answer.status_code == 302:
        place = answer.headers["Location"]
        return place == "/admin/" or place.startswith(("/sign-in/", "/admin/login/"))
    return answer.status_code in REFUSALS or (api and answer.status_code in UNREADABLE)


def filled(route: str, world: World, row: str = "") -> tuple[str, str, dict[str, str]]:
    """The path with north's ids, the path with ids that nobody has, and what was put in place of what."""
    ids: dict[str, str] = {}
    own = other = route
    for name in PARAMETER.findall(route):
        place = next((key for key in PARAMETERS if key.endswith(f"/{name}") and key.split("/")[0] in route), name)
        value, nobodys = PARAMETERS[place]
        mine = str(world.rows[row].pk) if row else str(value(world))
        nobodys = nobodys or mine
        ids[mine] = nobodys
        own = re.sub(rf"<(?:\w+:)?{name}>", mine, own, count=1)
        other = re.sub(rf"<(?:\w+:)?{name}>", nobodys, other, count=1)
    return f"/{own}", f"/{other}", ids


def check(browser: str, who: str, paths: tuple[str, str, dict[str, str]], audience: Audience, *, same: bool) -> None:
    """`who` is let in or refused at the path; with `same`, a refusal is what an unknown id gets.

    Below `/api/` whoever is in the org is told that they lack a right; others are told what they sent wrong, before
    it matters where.
    """
    own, other, ids = paths
    api = own.startswith("/api/")
    if who in audience:
        answer = ask(browser, "GET", own)
        for method in ("POST", "DELETE") if api else ("POST",):
            answer = ask(browser, method, own) if answer.status_code == 405 else answer
        assert not is_refusal(answer, api), f"{who} is kept out of {own}: {answer.status_code}"
        return
    refused = 0
    for method in API_METHODS if api else METHODS:
        answer = ask(browser, method, own)
        assert is_refusal(answer, api), f"{who} may {method} {own}: {answer.status_code}"
        refused += answer.status_code != 405
        knows = api and who in INSIDE and answer.status_code == 403
        if same and own != other and not knows:
            assert seen(answer, ids) == seen(ask(browser, method, other), ids), f"{who} learns of {own} by {method}"
    assert refused, f"{own} takes no method at all from {who}"


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("route", sorted(URLS))
def test_a_url_is_there_for_its_audience_and_for_nobody_else(
    route: str, world: World, browsers: dict[str, str]
) -> None:
    paths = filled(route, world)
    for who in PEOPLE:
        check(browsers[who], who, paths, URLS[route], same=True)


def in_an_org(route: str) -> bool:
    """Whether ids of this URL are looked for in the org that it names."""
    names = PARAMETER.findall(route)
    return len(names) > 1 and names[0] == "org" and "token" not in route


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("route", [route for route in sorted(URLS) if in_an_org(route)])
def test_an_id_of_another_org_is_unknown_in_ones_own(route: str, world: World, browsers: dict[str, str]) -> None:
    """The owner of north at a page of north with an id from south, and the other way about."""
    assert world.foreign is not None
    foreign = re.sub(r"<(?:slug:)?org>", PARAMETERS["org"][0](world), route)
    own, other, ids = filled(foreign, world.foreign)
    for method in METHODS:
        for who in ("owner", "member", "hub_admin"):
            given, absent = ask(browsers[who], method, own), ask(browsers[who], method, other)
            assert is_refusal(given, own.startswith("/api/"))
            assert seen(given, ids) == seen(absent, ids)


IN_THE_ADMIN: Final = ("anonymous", "outsider", "member", "viewer", "operator", "owner")
"""Who holds no right anywhere is as a member there."""

MODEL_PAGES: Final = [
    (label, kind, route) for route, (label, kind) in sorted(model_pages().items()) if label in ADMIN
]


def audience_of(pages: Pages, kind: str) -> Audience:
    """Who may open that kind of page of north's row; owners of any org have lists and forms of their own."""
    stated = {"add": pages.add, "delete": pages.delete}.get(kind, pages.see)
    everywhere = kind in {"list", "add"} and "owner" in stated
    return stated | {"outsider"} if everywhere else stated


@pytest.mark.requirement("T6")
@pytest.mark.parametrize(("label", "kind", "route"), MODEL_PAGES)
def test_the_admin_shows_and_takes_what_is_stated(
    label: str, kind: str, route: str, world: World, browsers: dict[str, str]
) -> None:
    audience = audience_of(ADMIN[label], kind)
    paths = filled(route, world, label if "object_id" in route else "")
    if kind == "row":  # leads to the row's page, whatever the id
        return
    for who in IN_THE_ADMIN:
        if who not in audience or who in ("viewer", "outsider", "owner"):
            check(browsers[who], who, paths, audience, same=who not in ADMIN[label].see and label not in OF_NO_ORG)


@pytest.mark.requirement("T6")
@pytest.mark.parametrize(("label", "kind", "route"), MODEL_PAGES)
def test_no_admin_page_tells_of_another_org(
    label: str, kind: str, route: str, world: World, browsers: dict[str, str]
) -> None:
    """Lists, choice fields, filters, history: nothing of north for the owner of south."""
    if kind == "row":
        return
    at_home = world.foreign
    assert at_home is not None
    own, _, _ = filled(route, at_home, label if "object_id" in route else "")
    body = ask(browsers["outsider"], "GET", own).content.decode()
    assert not re.search(r"\bnorth\b|-north|owner@example", body)


@pytest.mark.requirement("T6")
def test_autocomplete_and_search_offer_own_rows_only(world: World, browsers: dict[str, str]) -> None:
    asked = 0
    for model, page in registered().items():
        for field in page.autocomplete_fields:
            query = f"app_label={model._meta.app_label}&model_name={model._meta.model_name}&field_name={field}&term="
            body = ask(browsers["outsider"], "GET", f"/admin/autocomplete/?{query}").content.decode()
            asked += 1
            assert "north" not in body
    for term in ("north", "owner", "up-", "example"):
        for extra in ("", "&extended=1"):
            body = ask(browsers["outsider"], "GET", f"/admin/search/?s={term}{extra}").content.decode()
            assert "-north" not in body
            assert "owner@example.org" not in body


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("label", sorted(ADMIN))
def test_actions_touch_no_row_of_another_org(label: str, world: World, browsers: dict[str, str]) -> None:
    page = next(item for model, item in registered().items() if model._meta.label_lower == label)
    row = world.rows[label]
    before = facts(type(row)._base_manager.get(pk=row.pk))
    path = f"/admin/{label.replace('.', '/')}/"
    for action in [
        name if isinstance(name, str) else name.__name__ for name in (*(page.actions or ()), "delete_selected")
    ]:
        with transaction.atomic():
            chosen = {"action": action, "_selected_action": [str(row.pk)], "post": "yes"}
            handler(factory.post(path, chosen, HTTP_COOKIE=browsers["outsider"]).environ)
            after = facts(type(row)._base_manager.get(pk=row.pk))
            transaction.set_rollback(True)
        assert after == before, action
