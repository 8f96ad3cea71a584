"""Flood limits on what strangers may leave behind (S2), and what is forgotten."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from oauth2_provider.models import Application, Grant, RefreshToken

from gateway.authserver.models import Approval, RegistrationMark
from gateway.authserver.service_tokens import ServiceTokenProver, issue
from gateway.authserver.tasks import KEPT, tidy
from gateway.snapshot import Snapshots
from gateway.types import Route, Unauthenticated
from mcphub.accounts import services
from mcphub.accounts.models import Org, User
from mcphub.accounts.selectors import key_records
from mcphub.core.clock import now
from tests.authserver.conftest import member, signed_in
from tests.authserver.flow import CALLBACK, Flow, post_token, register
from upstreams.credentials.vault import Vault

pytestmark = pytest.mark.django_db


@pytest.fixture
def limits(settings: Any) -> Any:
    def use(text: str) -> None:
        settings.HUB = settings.HUB.model_copy(update={"limits": settings.HUB.limits.override(text)})

    return use


def registers(source: str) -> int:
    body = json.dumps({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"})
    answer = Client(HTTP_HOST="hub.test", REMOTE_ADDR=source).post(
        "/oauth/register", body, content_type="application/json"
    )
    assert (answer.status_code == 429) == ("Retry-After" in answer)
    return answer.status_code


@pytest.mark.requirement("S2")
def test_one_address_registers_so_many_clients_and_others_go_on(limits: Any) -> None:
    limits("source_clients=2")
    assert [registers("192.0.2.1") for _ in range(3)] == [201, 201, 429]
    assert registers("192.0.2.2") == 201
    assert [registers(f"2001:db8::{number}") for number in (1, 2, 3)] == [201, 201, 429]


@pytest.mark.requirement("S2")
def test_there_is_an_end_to_clients_that_nobody_let_in(limits: Any) -> None:
    limits("clients=2")
    assert [registers(f"192.0.2.{number}") for number in (1, 2, 3)] == [201, 201, 429]
    Application.objects.filter(registration_source="dcr").update(created=now() - timedelta(hours=2))
    assert registers("192.0.2.4") == 201
    assert Application.objects.filter(registration_source="dcr").count() == 1


@pytest.mark.requirement("S2")
def test_a_question_leaves_nothing_before_it_is_answered(flow: Flow) -> None:
    for _ in range(3):
        assert flow.page().status_code == 200
    assert (Approval.objects.count(), Grant.objects.count()) == (0, 0)


@pytest.mark.requirement("S2")
def test_a_person_holds_so_many_codes_and_applications(flow: Flow, limits: Any) -> None:
    limits("pending_codes=2,applications=3")
    for _ in range(3):
        flow.code(prompt="consent")
    assert Grant.objects.count() == 2
    assert flow.answer(flow.page(prompt="consent")).status_code == 400


@pytest.mark.requirement("S2")
def test_a_source_that_fails_too_often_waits(db: None, limits: Any) -> None:
    limits("key_attempts=3")
    answers = [post_token(grant_type="refresh_token", refresh_token="x", client_id="y").status_code for _ in range(6)]
    assert answers[0] in (400, 401)
    assert answers[-1] == 429


@pytest.mark.requirement("S2")
def test_what_is_over_is_forgotten(flow: Flow) -> None:
    flow.code()
    unused = register()["client_id"]
    ended = Flow(flow.browser, register()["client_id"])
    ended.tokens()
    Approval.objects.filter(application__client_id=ended.client_id).update(ended_at=now() - KEPT - timedelta(days=1))
    RefreshToken.objects.update(revoked=now() - KEPT - timedelta(days=1))
    Approval.objects.filter(redeemed_at=None).update(created_at=now() - timedelta(hours=1))
    Grant.objects.update(expires=now() - timedelta(hours=1))
    Application.objects.filter(client_id=unused).update(created=now() - timedelta(days=2))
    RegistrationMark.objects.update(at=now() - timedelta(days=1))
    tidy()
    tidy()
    assert not Grant.objects.exists()
    assert not Approval.objects.exists()
    assert not RefreshToken.objects.exists()
    assert not RegistrationMark.objects.exists()
    assert not Application.objects.filter(client_id=unused).exists()
    assert Application.objects.filter(client_id="mcphub-cli").exists()


def test_a_service_token_is_its_key_at_one_endpoint(north: Org) -> None:
    key = services.create_key(north, "robot", roles=["member"])
    snapshots = Snapshots(Vault())
    prover = ServiceTokenProver(snapshots)
    snapshots.keys = {record.public_id: record for record in key_records(str(north.pk))}
    token = issue(key.row.public_id, key.plain, "/mcp/north")
    assert token is not None
    proof = prover.recall(token)
    assert proof is not None
    assert proof.on(Route("org", "north", path="/mcp/north")).label == "robot"
    with pytest.raises(Unauthenticated):
        proof.on(Route("aggregate"))
    assert prover.recall(token[:-3] + "aaa") is None
    snapshots.keys = {}
    assert prover.recall(token) is None


def test_owners_see_and_end_what_reaches_their_org_and_no_more(flow: Flow, ann: User, north: Org, bob: User) -> None:
    flow.tokens()
    row = Approval.objects.get()
    page, changelist = (
        reverse("admin:gateway_approval_change", args=[row.pk]),
        reverse("admin:gateway_approval_changelist"),
    )
    own, strange = signed_in(ann), signed_in(bob)
    assert own.get(page).status_code == 200
    assert strange.get(page).status_code == 404
    assert "ann@example.org" not in strange.get(changelist).content.decode()
    plain = signed_in(member(north, "carl@example.org", "member"))
    assert plain.get(page).status_code in (302, 403, 404)
    ends = {"action": "end_connections", "_selected_action": [str(row.pk)]}
    for browser, ended in ((strange, False), (own, True)):
        browser.get(changelist)
        token = browser.cookies["mcphub_csrf"].value if "mcphub_csrf" in browser.cookies else ""
        browser.post(changelist, {**ends, "csrfmiddlewaretoken": token})
        row.refresh_from_db()
        assert (row.ended_at is not None) is ended
    assert own.get(reverse("admin:oauth2_provider_application_changelist")).status_code == 403


def test_a_person_ends_only_their_own(flow: Flow, bob: User) -> None:
    flow.tokens()
    row = Approval.objects.get()
    for browser, status in ((signed_in(bob), 404), (flow.browser, 302)):
        browser.get("/oauth/applications/")
        token = browser.cookies["mcphub_csrf"].value
        answer = browser.post(f"/oauth/applications/{row.pk}/end/", {"csrfmiddlewaretoken": token})
        assert answer.status_code == status
    row.refresh_from_db()
    assert row.end_reason == "ended by the person"
