"""The home page as an owner, a member, a stranger and somebody who is not signed in meet it."""

import re

import pytest
from django.test import Client

from mcphub.accounts import services
from mcphub.accounts.models import Org, User
from mcphub.core.clock import now
from upstreams.credentials.models import SHARED, Credential
from upstreams.models import Upstream, UpstreamState

pytestmark = pytest.mark.django_db


@pytest.fixture
def org() -> Org:
    return services.create_org("acme", "Acme")


@pytest.fixture
def upstream(org: Org) -> Upstream:
    row = Upstream.objects.create(org=org, slug="time", name="time", transport="stdio", command="clock")
    UpstreamState.objects.filter(pk=row.pk).update(state="down", last_error="The command clock is not installed.")
    return row


def signed_in(org: Org | None, *roles: str) -> Client:
    person = services.create_user(f"{'-'.join(roles) or 'nobody'}@example.com")
    if org is not None:
        services.add_member(org, person, roles)
    client = Client()
    client.force_login(User.objects.get(pk=person.pk))
    return client


def test_whoever_is_not_signed_in_is_sent_to_the_sign_in_page() -> None:
    answer = Client().get("/")
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/sign-in/")


@pytest.mark.requirement("D10")
def test_owner_sees_the_url_the_upstreams_and_what_is_wrong(org: Org, upstream: Upstream) -> None:
    page = signed_in(org, "owner").get("/").content.decode()
    assert "http://testserver/mcp" in page
    assert "The command clock is not installed." in page
    assert f"/admin/upstreams/upstream/{upstream.pk}/change/" in page
    assert "Add an upstream" in page
    assert "https://" not in page


def test_viewer_may_look_but_is_offered_no_change(org: Org, upstream: Upstream) -> None:
    page = signed_in(org, "viewer").get("/").content.decode()
    assert "not installed" in page
    assert "Add an upstream" not in page


def test_member_sees_nothing_of_the_configuration(org: Org, upstream: Upstream) -> None:
    page = signed_in(org, "member").get("/").content.decode()
    assert "http://testserver/mcp" in page
    assert "clock" not in page


def test_stranger_sees_nothing_of_the_org(org: Org, upstream: Upstream) -> None:
    other = services.create_org("other")
    page = signed_in(other, "owner").get("/").content.decode()
    assert "Acme" not in page
    assert "clock" not in page


def test_page_asks_again_for_the_part_that_changes(org: Org, upstream: Upstream) -> None:
    part = signed_in(org, "owner").get("/", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert 'id="upstreams"' in part
    assert "not installed" in part


@pytest.mark.requirement("C9")
def test_whoever_has_to_connect_an_account_again_is_told_so_and_nobody_else(org: Org) -> None:
    git = Upstream.objects.create(
        org=org, slug="git", name="Git", url="https://1.1.1.1/mcp", credential_mode="per-user"
    )
    mail = Upstream.objects.create(
        org=org, slug="mail", name="Mail", url="https://1.1.1.1/mcp", credential_mode="shared"
    )
    viewer, owner, other = signed_in(org, "viewer"), signed_in(org, "owner"), signed_in(org, "member")
    mine = f"user:{User.objects.get(email='viewer@example.com').pk}"
    lost = {"state": Credential.State.NEEDS_CONNECTION, "connected_at": now()}
    Credential.objects.create(upstream=git, holder=mine, **lost)
    Credential.objects.create(upstream=mail, holder=SHARED, **lost)

    def told(client: Client) -> tuple[bool, bool, int]:
        page = client.get("/").content.decode()
        waiting = re.search(r'href="/connect/"[^>]*>Connections <span class="pill warn">(\d+)', page)
        return f"/connect/{git.pk}/" in page, f"/connect/{mail.pk}/" in page, int(waiting[1]) if waiting else 0

    assert told(viewer) == (True, False, 1)
    assert told(owner) == (False, True, 1)
    assert told(other) == (False, False, 0)
    Credential.objects.filter(holder=mine).update(state=Credential.State.CONNECTED)
    assert told(viewer) == (False, False, 0)
