"""Who sees what of the record in the admin, and how it is paged."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from audit import access
from audit.events import Event, Kind, Result
from audit.models import AuditEvent
from audit.writer import Writer
from mcphub.accounts.models import User

pytestmark = pytest.mark.django_db

LIST = "/admin/audit/auditevent/"


@pytest.fixture
def seen() -> Iterator[dict[str, str]]:
    """The orgs that the signed-in person may see, as the app above would register them."""
    before, orgs = list(access._registered), {"org-1": "default"}
    access.register(lambda request: orgs)
    yield orgs
    access._registered[:] = before


@pytest.fixture
def client(client: Client) -> Client:
    client.force_login(User.objects.create_user("anna@example.org", is_superuser=True))
    return client


def record(an_event: Callable[..., Event], **changes: Any) -> AuditEvent:
    Writer.record_sync(an_event(**changes))
    return AuditEvent.objects.order_by("-at", "-id").first()  # type: ignore[return-value]


def test_timeline_shows_own_org_only(client: Client, seen: dict[str, str], an_event: Callable[..., Event]) -> None:
    record(an_event, name="mine")
    other = record(an_event, name="theirs", org_id="org-2")
    page = client.get(LIST).content.decode()
    assert "mine" in page
    assert "theirs" not in page
    assert "theirs" not in client.get(LIST, {"org": "org-2"}).content.decode()
    assert "theirs" not in client.get(f"{LIST}{other.id}/change/", follow=True).content.decode()


def test_stranger_is_kept_out(client: Client, seen: dict[str, str], an_event: Callable[..., Event]) -> None:
    row = record(an_event)
    seen.clear()
    assert client.get(LIST).status_code == 403
    assert client.get(f"{LIST}{row.id}/change/").status_code in {302, 403, 404}


def test_nothing_can_be_changed(client: Client, seen: dict[str, str], an_event: Callable[..., Event]) -> None:
    row = record(an_event)
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{row.id}/change/", {"name": "x"}).status_code == 403
    assert client.post(f"{LIST}{row.id}/delete/", {"post": "yes"}).status_code == 403
    with pytest.raises(TypeError):
        row.save()


def test_pages_by_key_without_counting(
    client: Client, seen: dict[str, str], an_event: Callable[..., Event], django_assert_max_num_queries: Any
) -> None:
    for number in range(120):
        record(an_event, at=1_000_000 + number // 3, name=f"tool-{number:03}")
    found, url = [], LIST
    while url:
        with django_assert_max_num_queries(12) as queries:
            response = client.get(url)
        assert not any("COUNT(" in query["sql"] for query in queries.captured_queries)
        found += [row.name for row in response.context["cl"].result_list]
        url = response.context["cl"].older_url and LIST + response.context["cl"].older_url
    assert found == [f"tool-{number:03}" for number in reversed(range(120))]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"kind": "outcome"}, ["two"]),
        ({"outcome": "completed"}, ["two"]),
        ({"tool": "on"}, ["one"]),
        ({"upstream": "tim"}, ["two", "one"]),
        ({"principal": "anna"}, ["two", "one"]),
        ({"principal": "nobody"}, []),
        ({"last": "1h"}, ["two", "one"]),
        ({"effect": "deny"}, []),
        ({"before": "nonsense"}, ["two", "one"]),
    ],
)
def test_filters_narrow(
    client: Client, seen: dict[str, str], an_event: Callable[..., Event], filters: dict[str, str], found: list[str]
) -> None:
    record(an_event, name="one")
    record(an_event, name="two", kind=Kind.OUTCOME, outcome=Result.COMPLETED)
    response = client.get(LIST, filters)
    assert [row.name for row in response.context["cl"].result_list] == found


def test_one_event_shows_its_call_and_payload(
    client: Client, seen: dict[str, str], an_event: Callable[..., Event]
) -> None:
    row = record(an_event, payload=json.dumps({"city": "<b>Oslo</b>", "api_key": "hunter2"}).encode())
    record(an_event, kind=Kind.OUTCOME, outcome=Result.FAILED, reason="timeout")
    page = client.get(f"{LIST}{row.id}/change/").content.decode()
    assert "&lt;b&gt;Oslo" in page
    assert "hunter2" not in page
    assert "timeout" in page
