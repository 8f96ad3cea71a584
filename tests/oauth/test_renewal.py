"""Refresh ahead of time and when it is needed, what each failure means, and who is told."""

import asyncio
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from django.core import mail as outgoing_mail
from django.test import Client
from pytest_django.fixtures import Settings

from mcphub.accounts.models import Membership, User
from mcphub.core.clock import now
from mcphub.doctor import findings
from tests.oauth.conftest import World, tokens
from tests.oauth.places import Reply
from upstreams.credentials.models import Credential
from upstreams.errors import Unreachable
from upstreams.oauth import due, notices, sweep
from upstreams.oauth.renewal import renew


def refresh(row: Credential) -> Credential:
    """Have the row refreshed as a call would; the row afterwards."""
    asyncio.run(renew(str(row.pk), row.version))
    return Credential.objects.get(pk=row.pk)


def failing(row: Credential, failures: int, minutes: int) -> Credential:
    """The row as if so many refreshes had failed since then."""
    began = now() - timedelta(minutes=minutes)
    Credential.objects.filter(pk=row.pk).update(failures=failures, failing_since=began, renewing_until=None)
    return Credential.objects.get(pk=row.pk)


def forms(world: World) -> list[dict[str, list[str]]]:
    """What the token endpoint was sent."""
    pairs = zip(world.server.asked, world.server.sent, strict=True)
    return [parse_qs(body.decode()) for asked, (_, body) in pairs if asked == "POST /token"]


@pytest.mark.requirement("C5")
def test_a_refresh_goes_to_the_server_that_was_connected_whatever_the_upstream_names_now(world: World) -> None:
    world.connect()
    world.names("https://evil.example")
    world.server.at["POST /token"] = Reply(body=tokens(2, refresh_token=None, scope="tools"))
    row = refresh(Credential.objects.get())
    assert (row.secret["access_token"], row.secret["refresh_token"]) == ("access-2", "refresh-1")
    assert forms(world)[-1]["refresh_token"] == ["refresh-1"]
    assert forms(world)[-1]["resource"] == [f"{world.at.url}/mcp"]
    assert (row.state, row.scopes, row.renewing_by) == ("connected", ["tools"], "")


@pytest.mark.requirement("C5")
def test_what_was_refreshed_meanwhile_is_not_refreshed_again(world: World) -> None:
    world.connect()
    row = Credential.objects.get()
    refresh(row)
    refresh(row)
    assert len(forms(world)) == 2


@pytest.mark.requirement("C6")
def test_revoked_access_is_purged_at_once_and_nothing_else_is_touched(world: World) -> None:
    world.connect()
    bob = User.objects.create_user("bob@example.org")
    Membership.objects.create(org=world.row.org, user=bob, roles=["operator"])
    other = Credential(upstream=world.row, holder=f"user:{bob.pk}", connected_at=now(), issuer=world.server.url)
    other.secret = {"access_token": "bobs"}
    other.save()
    world.server.at["POST /token"] = Reply(400, {"error": "invalid_grant"})
    row = refresh(Credential.objects.get(holder=world.holder))
    assert (row.state, row.secret) == ("needs_connection", None)
    assert "revoked" in row.problem
    assert Credential.objects.get(pk=other.pk).version == other.version
    refresh(row)
    assert len(forms(world)) == 2


@pytest.mark.requirement("C6")
@pytest.mark.parametrize(
    ("failures", "minutes", "purged"), [(0, 0, False), (3, 60, False), (9, 29, False), (4, 31, True)]
)
def test_what_may_pass_is_borne_five_times_and_half_an_hour(
    world: World, failures: int, minutes: int, purged: bool
) -> None:
    world.connect()
    world.server.at["POST /token"] = Reply(503)
    Credential.objects.update(expires_at=now())
    row = failing(Credential.objects.get(), failures, minutes)
    if purged:
        assert refresh(row).secret is None
        return
    with pytest.raises(Unreachable):
        refresh(row)
    kept = Credential.objects.get()
    assert (kept.state, kept.failures) == ("failing", failures + 1)
    asked = len(forms(world))
    with pytest.raises(Unreachable):
        refresh(kept)
    assert len(forms(world)) == asked, "a server that fails is left alone for a moment"
    world.server.at["POST /token"] = Reply(body=tokens(2))
    mended = refresh(failing(kept, kept.failures, minutes))
    assert (mended.state, mended.problem, mended.failures) == ("connected", "", 0)


@pytest.mark.requirement("C6")
def test_a_wrong_client_secret_of_an_operator_costs_nobody_their_account(world: World) -> None:
    world.row.oauth = {"client_id": "entered", "client_secret": "right"}
    world.row.save()
    world.connect()
    Credential.objects.update(expires_at=now())
    world.server.at["POST /token"] = Reply(401, {"error": "invalid_client"})
    with pytest.raises(Unreachable):
        refresh(Credential.objects.get())
    assert Credential.objects.get().secret["refresh_token"] == "refresh-1"


@pytest.mark.requirement("C5")
def test_the_sweep_takes_what_ends_soon_or_is_old_and_can_be_refreshed(world: World) -> None:
    world.connect()
    row = Credential.objects.get()
    assert due.due(now()) == []
    Credential.objects.update(expires_at=now() + timedelta(minutes=19))
    assert [pk for pk, _ in due.due(now())] == [str(row.pk)]
    assert due.overdue() == 1
    assert any(finding.about == "refresh of accounts" and finding.level == "warning" for finding in findings())
    assert "no worker has refreshed" in world.browser.get("/").content.decode()
    assert sweep.sweep() == 1
    assert "no worker has refreshed" not in world.browser.get("/").content.decode()
    assert (due.overdue(), due.has_run()) == (0, True)
    Credential.objects.update(obtained_at=now() - timedelta(hours=5))
    assert len(due.due(now())) == 1
    row = Credential.objects.get()
    row.secret = {"access_token": "alone", "token_endpoint": "x"}
    row.save()
    assert due.due(now()) == []


@pytest.mark.requirement("C9")
def test_who_has_to_connect_again_is_told_once_for_each_failure_with_a_link_for_them_alone(
    world: World, settings: Settings
) -> None:
    world.connect()
    world.server.at["POST /token"] = Reply(400, {"error": "invalid_grant"})
    refresh(Credential.objects.get())
    assert notices.send_due() == 0
    settings.HUB = settings.HUB.model_copy(
        update={"email_url": "smtp://127.0.0.1", "server_url": "http://testserver"}
    )
    assert [notices.send_due(), notices.send_due()] == [1, 0]
    (sent,) = outgoing_mail.outbox
    assert sent.to == ["alice@example.org"]
    assert "Notes" in sent.subject
    assert "revoked" in sent.body
    link = next(word for word in sent.body.split() if word.startswith("http://testserver/connect/"))
    path = link.removeprefix("http://testserver")
    assert world.browser.get(path).status_code == 200
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger@example.org"))
    assert stranger.get(path).status_code in (403, 404)
    assert Client().get(path).status_code == 302
    world.server.at["POST /token"] = Reply(body=tokens(2))
    world.connect()
    world.server.at["POST /token"] = Reply(400, {"error": "invalid_grant"})
    refresh(Credential.objects.get())
    assert notices.send_due() == 1


@pytest.mark.requirement("C5")
def test_disconnecting_revokes_at_the_server_after_the_commit(world: World) -> None:
    from mcphub.accounts.acts import Actor
    from upstreams.credentials import services
    from upstreams.oauth.ending import _telling

    world.server.server(revocation_endpoint=f"{world.server.url}/revoke")
    world.server.at["POST /revoke"] = Reply(200)
    world.connect()
    services.disconnect(Credential.objects.get(), by=Actor("test"))
    _telling.submit(lambda: None).result(10)
    assert world.server.asked[-1] == "POST /revoke"
    assert b"refresh-1" in world.server.sent[-1][1]
