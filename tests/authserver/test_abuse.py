"""OAuth abuse, form by form (F53): no code and no token goes to anybody else, and none where there should be none."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from django.test import Client
from oauth2_provider.models import AccessToken, Application, Grant

from gateway.authserver.models import Approval
from gateway.proofs import Proof
from gateway.types import NeedsScope, NotFound, Route, Unauthenticated
from mcphub.accounts import services
from mcphub.accounts.models import Membership, Org, User
from tests.authserver.conftest import member, signed_in
from tests.authserver.flow import CALLBACK, FORM, HUB, Flow, browser, pkce, post_token, proof_of, register, said

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("S1")]


# --- the browser's way: what comes of a request that is not in order ------------------------------------


@dataclass(frozen=True)
class Asked:
    """A change to an authorization request; `told` is the error that the client is told, "" = only the person is."""

    name: str
    changes: dict[str, Any]
    told: str = ""


ASKED: Final = (
    Asked("unknown client", {"client_id": "nobody"}),
    Asked("no client", {"client_id": None}),
    Asked("client id with NUL", {"client_id": "a\x00b"}),
    Asked("client id of huge length", {"client_id": "x" * 9_000}),
    Asked("http document as client id", {"client_id": "http://app.example/client.json"}),
    Asked("javascript as client id", {"client_id": "javascript:alert(1)"}),
    Asked("document at a private address", {"client_id": "https://10.0.0.1/client.json"}),
    Asked("document at the metadata service", {"client_id": "https://169.254.169.254/latest/x"}),
    Asked("document with user info", {"client_id": "https://a@app.example/client.json"}),
    Asked("document with dots", {"client_id": "https://app.example/a/../client.json"}),
    Asked("redirect elsewhere", {"redirect_uri": "https://evil.example/callback"}),
    Asked("redirect to another path", {"redirect_uri": "https://app.example/other"}),
    Asked("redirect below the path", {"redirect_uri": f"{CALLBACK}/more"}),
    Asked("redirect up the path", {"redirect_uri": f"{CALLBACK}/../evil"}),
    Asked("redirect with a query", {"redirect_uri": f"{CALLBACK}?next=evil"}),
    Asked("redirect with an empty query", {"redirect_uri": f"{CALLBACK}?"}),
    Asked("redirect with a fragment", {"redirect_uri": f"{CALLBACK}#evil"}),
    Asked("redirect with user info", {"redirect_uri": "https://app.example@evil.example/callback"}),
    Asked("redirect with user info of ours", {"redirect_uri": "https://evil@app.example/callback"}),
    Asked("redirect with a backslash", {"redirect_uri": "https://app.example\\@evil.example/callback"}),
    Asked("redirect with another port", {"redirect_uri": "https://app.example:8443/callback"}),
    Asked("redirect over http", {"redirect_uri": "http://app.example/callback"}),
    Asked("redirect to a subdomain", {"redirect_uri": "https://evil.app.example/callback"}),
    Asked("redirect to a longer host", {"redirect_uri": "https://app.example.evil.example/callback"}),
    Asked("redirect in other case", {"redirect_uri": "https://app.example/CALLBACK"}),
    Asked("redirect with path parameters", {"redirect_uri": f"{CALLBACK};evil=1"}),
    Asked("redirect with an encoded slash", {"redirect_uri": "https://app.example/callback%2f..%2fevil"}),
    Asked("redirect to javascript", {"redirect_uri": "javascript:alert(1)"}),
    Asked("redirect to data", {"redirect_uri": "data:text/html,hi"}),
    Asked("relative redirect", {"redirect_uri": "/callback"}),
    Asked("redirect without a scheme", {"redirect_uri": "//evil.example/callback"}),
    Asked("implicit grant", {"response_type": "token"}, "unauthorized_client"),
    Asked("hybrid grant", {"response_type": "code token"}, "unauthorized_client"),
    Asked("id token", {"response_type": "id_token"}, "unsupported_response_type"),
    Asked("no response type", {"response_type": None}, "invalid_request"),
    Asked("no PKCE", {"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    Asked("plain PKCE", {"code_challenge_method": "plain"}, "invalid_request"),
    Asked("PKCE that defaults to plain", {"code_challenge_method": None}, "invalid_request"),
    Asked("PKCE method in other case", {"code_challenge_method": "s256"}, "invalid_request"),
    Asked("a challenge that is short", {"code_challenge": "short"}, "invalid_request"),
    Asked("a challenge that is huge", {"code_challenge": "x" * 500}, "invalid_request"),
    Asked("an unknown scope", {"scope": "mcp admin"}, "invalid_scope"),
    Asked("answer in a fragment", {"response_mode": "fragment"}, "invalid_request"),
    Asked("answer as a form", {"response_mode": "form_post"}, "invalid_request"),
    Asked("a request object", {"request": "eyJhbGciOiJub25lIn0.e30."}, "invalid_request"),
    Asked("a request object by URL", {"request_uri": "https://evil.example/r"}, "invalid_request"),
    Asked("resource of another host", {"resource": "https://evil.example/mcp"}, "invalid_target"),
    Asked("resource of another port", {"resource": "http://hub.test:81/mcp"}, "invalid_target"),
    Asked("resource that is no endpoint", {"resource": f"{HUB}/admin/"}, "invalid_target"),
    Asked("resource that is the whole hub", {"resource": HUB}, "invalid_target"),
    Asked("resource with a query", {"resource": f"{HUB}/mcp?org=south"}, "invalid_target"),
    Asked("resource with a fragment", {"resource": f"{HUB}/mcp#x"}, "invalid_target"),
    Asked("resource with user info", {"resource": "http://a@hub.test/mcp"}, "invalid_target"),
    Asked("two resources", {"resource": [f"{HUB}/mcp", f"{HUB}/mcp/north"]}, "invalid_target"),
    Asked("silent without consent", {"prompt": "none"}, "interaction_required"),
    Asked("an org of others", {"resource": f"{HUB}/mcp/south"}),
    Asked("an org of nobody", {"resource": f"{HUB}/mcp/nowhere"}),
    Asked("two clients", {"client_id": ["", "nobody"]}),
    Asked("two redirects", {"redirect_uri": [CALLBACK, "https://evil.example/callback"]}),
    Asked("two states", {"state": ["a", "b"]}),
    Asked("two challenges", {"code_challenge": ["a", "b"]}),
    Asked("a state of huge length", {"state": "x" * 9_000}),
    Asked("a client in other case", {"client_id": None, "CLIENT_ID": "x"}),
)


@pytest.mark.parametrize("row", ASKED, ids=lambda row: row.name)
def test_a_request_that_is_not_in_order_gives_no_code(flow: Flow, bob: User, row: Asked) -> None:
    answer = flow.page(**row.changes)
    if not row.told:
        assert answer.status_code in (400, 403, 414), answer.content
        assert "Location" not in answer
    else:
        assert urlsplit(answer["Location"])._replace(query="").geturl() == CALLBACK
        told = said(answer)
        assert (told["error"], told["state"], told["iss"]) == (row.told, "s-1", HUB)
        assert "code" not in told
    assert not Grant.objects.exists()


def test_what_an_org_of_others_answers_does_not_tell_that_it_is_there(flow: Flow, bob: User) -> None:
    there, absent = (flow.page(resource=f"{HUB}/mcp/{slug}").content.decode() for slug in ("south", "absent"))
    there, absent = (re.sub(r'(?<=csrfmiddlewaretoken" value=")\w+', "", page) for page in (there, absent))
    assert there.replace("/mcp/south", "") == absent.replace("/mcp/absent", "")


# --- what clients may say of themselves -----------------------------------------------------------------

REDIRECTS: Final = (
    "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:x",
    "about:blank", "http://evil.example/cb", "http://127.0.0.1.evil.example/cb", "https://*.example/cb",
    "https://a@app.example/cb", "https://app.example/cb#x", "https:///cb", "https:app.example/cb", "/cb", "cb",
    "https://app.example/cb https://evil.example/cb", "https://app.example\\cb", "https://app.example:99999/cb",
    "https://app.example/cb?code=stolen", "https://app.example/cb?iss=https://evil.example", "ws://app.example/cb",
    "https://app.example/a/../cb", "https://äpp.example/cb", "https://app.example/cb\n", "",
    f"https://a.b/{'x' * 600}",
    "intent://x", "view-source:https://a.b/", "ftp://a.b/c",
)  # fmt: skip


@pytest.mark.parametrize("uri", REDIRECTS)
def test_no_client_has_such_a_redirect_uri(db: None, uri: str) -> None:
    answer = _register({"redirect_uris": [uri]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")
    assert Application.objects.filter(registration_source="dcr").count() == 0


BODIES: Final[dict[str, Any]] = {
    "no redirects": {},
    "redirects as text": {"redirect_uris": CALLBACK},
    "too many redirects": {"redirect_uris": [f"https://app.example/{number}" for number in range(50)]},
    "an unknown way to prove itself": {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt"},
    "the password grant": {"redirect_uris": [CALLBACK], "grant_types": ["password"]},
    "the implicit grant": {"redirect_uris": [CALLBACK], "grant_types": ["implicit"]},
    "only service credentials": {"redirect_uris": [CALLBACK], "grant_types": ["client_credentials"]},
    "the implicit response": {"redirect_uris": [CALLBACK], "response_types": ["token"]},
    "a name with controls": {"redirect_uris": [CALLBACK], "client_name": "Desk\u202egro.live"},
    "a name that is no text": {"redirect_uris": [CALLBACK], "client_name": {"a": 1}},
    "huge": {"redirect_uris": [CALLBACK], "client_name": "x" * 40_000},
    "a list": [CALLBACK],
}


@pytest.mark.parametrize("name", BODIES)
def test_no_client_says_this_of_itself(db: None, name: str) -> None:
    answer = _register(BODIES[name])
    assert answer.status_code in (400, 413)
    assert "client_id" not in answer.json()


def _register(document: Any) -> Any:
    said_so = json.dumps(document)
    return Client(HTTP_HOST="hub.test").post("/oauth/register", said_so, content_type="application/json")


# --- the client's way: codes and tokens -----------------------------------------------------------------


def _wrong_verifier(flow: Flow) -> Any:
    return flow.redeem(flow.code(), code_verifier=pkce()[0])


def _another_client(flow: Flow) -> Any:
    code = flow.code()
    flow.client_id = register()["client_id"]
    return flow.redeem(code)


def _changed(**changes: Any) -> Callable[[Flow], Any]:
    def attack(flow: Flow) -> Any:
        code = flow.code()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "client_id": flow.client_id,
            "code_verifier": flow.verifier,
            **changes,
        }
        return post_token(**fields)

    return attack


def _in_url(flow: Flow) -> Any:
    fields = {"grant_type": "authorization_code", "code": flow.code(), "client_id": flow.client_id}
    return Client(HTTP_HOST="hub.test").post(f"/oauth/token?{urlencode(fields)}", "", content_type=FORM)


def _as_json(flow: Flow) -> Any:
    fields = {"grant_type": "authorization_code", "code": flow.code(), "client_id": flow.client_id}
    return Client(HTTP_HOST="hub.test").post("/oauth/token", json.dumps(fields), content_type="application/json")


def _by_get(flow: Flow) -> Any:
    return Client(HTTP_HOST="hub.test").get("/oauth/token", {"grant_type": "refresh_token"})


def _late(flow: Flow) -> Any:
    code = flow.code()
    Grant.objects.update(expires="2020-01-01T00:00Z")
    return flow.redeem(code)


def _left(flow: Flow) -> Any:
    code = flow.code()
    Membership.objects.all().delete()
    return flow.redeem(code)


def _refreshed(**changes: Any) -> Callable[[Flow], Any]:
    return lambda flow: flow.refresh(flow.tokens()["refresh_token"], **changes)


def _refresh_as(flow: Flow) -> Any:
    held = flow.tokens()["refresh_token"]
    flow.client_id = register()["client_id"]
    return flow.refresh(held)


def _access_as_refresh(flow: Flow) -> Any:
    return flow.refresh(flow.tokens()["access_token"])


def _refresh_as_code(flow: Flow) -> Any:
    return flow.redeem(flow.tokens()["refresh_token"])


def _refresh_after_revocation(flow: Flow) -> Any:
    held = flow.tokens()
    fields = {"token": held["access_token"], "client_id": flow.client_id}
    assert Client(HTTP_HOST="hub.test").post("/oauth/revoke", urlencode(fields), content_type=FORM).status_code == 200
    return flow.refresh(held["refresh_token"])


def _refresh_of_a_disabled_person(flow: Flow) -> Any:
    held = flow.tokens()["refresh_token"]
    User.objects.update(is_active=False)
    return flow.refresh(held)


def _no_grant(grant: str) -> Callable[[Flow], Any]:
    return lambda flow: post_token(grant_type=grant, client_id=flow.client_id, username="ann", password="x")


PRESENTED: Final[dict[str, Callable[[Flow], Any]]] = {
    "wrong verifier": _wrong_verifier,
    "no verifier": _changed(code_verifier=None),
    "the challenge as verifier": lambda flow: flow.redeem(flow.code(), code_verifier=pkce()[1]),
    "code of another client": _another_client,
    "another redirect": _changed(redirect_uri="https://app.example/other"),
    "no redirect, no match": _changed(redirect_uri="https://evil.example/cb"),
    "unknown code": _changed(code="nothing"),
    "no code": _changed(code=None),
    "empty code": _changed(code=""),
    "code with NUL": _changed(code="a\x00b"),
    "huge code": _changed(code="x" * 40_000),
    "code twice": _changed(code=["a", "b"]),
    "verifier twice": _changed(code_verifier=["a", "b"]),
    "grant type twice": _changed(grant_type=["authorization_code", "refresh_token"]),
    "grant type in other case": _changed(grant_type="Authorization_Code"),
    "client in other case": _changed(client_id=None, CLIENT_ID="x"),
    "no client": _changed(client_id=None),
    "unknown client": _changed(client_id="nobody"),
    "resource of another org": _changed(resource=f"{HUB}/mcp/south"),
    "resource beneath": _changed(resource=f"{HUB}/mcp/north"),
    "resource elsewhere": _changed(resource="https://evil.example/mcp"),
    "two resources": _changed(resource=[f"{HUB}/mcp", f"{HUB}/mcp/south"]),
    "parameters in the URL": _in_url,
    "JSON": _as_json,
    "GET": _by_get,
    "after the code's time": _late,
    "after leaving the org": _left,
    "more scope on refresh": _refreshed(scope="mcp offline_access"),
    "another resource on refresh": _refreshed(resource=f"{HUB}/mcp/south"),
    "refresh by another client": _refresh_as,
    "refresh token unknown": lambda flow: flow.refresh("mcpr_nothing"),
    "access token as refresh token": _access_as_refresh,
    "refresh token as code": _refresh_as_code,
    "refresh after revocation": _refresh_after_revocation,
    "refresh of a disabled person": _refresh_of_a_disabled_person,
    "password grant": _no_grant("password"),
    "device grant": _no_grant("urn:ietf:params:oauth:grant-type:device_code"),
    "assertion grant": _no_grant("urn:ietf:params:oauth:grant-type:jwt-bearer"),
    "client credentials of a public client": _no_grant("client_credentials"),
}


@pytest.mark.parametrize("name", PRESENTED)
def test_what_is_not_in_order_gives_no_token(flow: Flow, name: str) -> None:
    answer = PRESENTED[name](flow)
    assert answer.status_code in (400, 401, 405, 413), answer.content
    assert "access_token" not in answer.json()
    assert answer["Cache-Control"] == "no-store"


def test_a_code_that_comes_twice_ends_what_came_of_it(flow: Flow) -> None:
    code = flow.code()
    first = flow.redeem(code).json()
    assert flow.redeem(code).status_code == 400
    assert proof_of(first["access_token"]) is None
    assert flow.refresh(first["refresh_token"]).status_code == 400
    assert Approval.objects.get().end_reason == "used twice"


@pytest.mark.requirement("F35")
def test_a_refresh_token_that_comes_twice_ends_the_family(flow: Flow) -> None:
    first = flow.tokens()
    second = flow.refresh(first["refresh_token"]).json()
    assert proof_of(second["access_token"]) is not None
    assert flow.refresh(first["refresh_token"]).status_code == 400
    assert proof_of(second["access_token"]) is None
    assert flow.refresh(second["refresh_token"]).status_code == 400
    assert Approval.objects.get().end_reason == "used twice"


# --- whose token, where ---------------------------------------------------------------------------------

OPENS: Final = (
    ("/mcp/north", Route("org", "north", path="/mcp/north"), None),
    ("/mcp/north", Route("upstream", "north", "git", path="/mcp/north/git"), None),
    ("/mcp/north", Route("aggregate", path="/mcp"), Unauthenticated),
    ("/mcp/north", Route("org", "northern", path="/mcp/northern"), Unauthenticated),
    ("/mcp/north/git", Route("upstream", "north", "git", path="/mcp/north/git"), None),
    ("/mcp/north/git", Route("upstream", "north", "mail", path="/mcp/north/mail"), Unauthenticated),
    ("/mcp/north/git", Route("org", "north", path="/mcp/north"), Unauthenticated),
    ("/mcp", Route("aggregate", path="/mcp"), None),
    ("/mcp", Route("org", "north", path="/mcp/north"), None),
    ("/mcp", Route("org", "south", path="/mcp/south"), NotFound),
    ("/mcp", Route("org", "absent", path="/mcp/absent"), NotFound),
    ("/mcp", Route("upstream", upstream="git", path="/git/mcp"), Unauthenticated),
    ("/mcp", Route("aggregate", path="/sse", wire="sse"), Unauthenticated),
)


@pytest.mark.parametrize(("path", "route", "refused"), OPENS)
def test_a_token_opens_its_endpoint_and_what_lies_beneath(
    flow: Flow, south: Org, path: str, route: Route, refused: type[Exception] | None
) -> None:
    services.add_member(south, User.objects.get(email="ann@example.org"), ["owner"])
    flow.path = path
    page = flow.page()
    answer = flow.answer(page, org=str(Org.objects.get(slug="north").pk))
    proof = proof_of(flow.redeem(flow.code_in(answer)).json()["access_token"])
    assert proof is not None
    if refused is None:
        assert proof.on(route).org.slug == "north"
    else:
        with pytest.raises(refused):
            proof.on(route)


def test_a_token_without_the_scope_opens_nothing(flow: Flow) -> None:
    proof = proof_of(flow.tokens(scope="offline_access")["access_token"])
    assert proof is not None
    with pytest.raises(NeedsScope):
        proof.on(Route("aggregate"))


def test_a_token_ends_with_the_membership(flow: Flow, ann: User, north: Org) -> None:
    member(north, "second@example.org", "owner")
    held = flow.tokens()
    services.remove_member(Membership.objects.get(user=ann, org=north))
    assert proof_of(held["access_token"]) is None
    assert flow.refresh(held["refresh_token"]).status_code == 400
    services.add_member(north, ann, ["owner"])
    assert proof_of(held["access_token"]) is None


@pytest.mark.parametrize("end", ["person", "org", "client"])
def test_a_token_ends_with_whatever_it_hangs_on(flow: Flow, ann: User, north: Org, end: str) -> None:
    held = flow.tokens()
    if end == "person":
        User.objects.filter(pk=ann.pk).update(is_active=False)
    elif end == "org":
        Org.objects.filter(pk=north.pk).update(enabled=False)
    else:
        Application.objects.filter(client_id=flow.client_id).delete()
    assert proof_of(held["access_token"]) is None


def test_tokens_and_codes_lie_nowhere_as_text(flow: Flow) -> None:
    held = flow.tokens()
    stored = [str(value) for row in AccessToken.objects.values() for value in row.values()]
    assert not {held["access_token"], held["refresh_token"]} & set(stored)


# --- who answered ---------------------------------------------------------------------------------------


def test_another_browser_of_the_same_person_cannot_answer(flow: Flow, ann: User) -> None:
    answer = flow.answer(flow.page(), using=_with_token(signed_in(ann)), csrfmiddlewaretoken=TOKEN)
    assert (answer.status_code, Grant.objects.count()) == (400, 0)


def test_another_person_cannot_answer(flow: Flow, bob: User) -> None:
    answer = flow.answer(flow.page(), using=_with_token(signed_in(bob)), csrfmiddlewaretoken=TOKEN)
    assert (answer.status_code, Grant.objects.count()) == (400, 0)


def test_nobody_answers_signed_out(flow: Flow) -> None:
    answer = flow.answer(flow.page(), using=_with_token(browser()), csrfmiddlewaretoken=TOKEN)
    assert (answer.status_code, Grant.objects.count()) == (403, 0)


def test_an_answer_without_the_token_of_the_page_counts_for_nothing(flow: Flow) -> None:
    assert flow.answer(flow.page(), csrfmiddlewaretoken="").status_code == 403
    assert Grant.objects.count() == 0


def test_a_page_is_answered_once(flow: Flow) -> None:
    page = flow.page()
    assert flow.answer(page).status_code == 302
    assert (flow.answer(page).status_code, Grant.objects.count()) == (400, 1)


def test_a_ticket_cannot_be_altered(flow: Flow) -> None:
    assert flow.answer(flow.page(), ticket="x" * 80).status_code == 400


def test_an_org_that_was_not_offered_cannot_be_chosen(flow: Flow, south: Org) -> None:
    assert flow.answer(flow.page(), org=str(south.pk)).status_code == 400
    assert flow.answer(flow.page(), org="all").status_code == 400


def test_a_refusal_is_told_to_the_client(flow: Flow) -> None:
    told = said(flow.answer(flow.page(), allow="deny"))
    assert told == {"error": "access_denied", "state": "s-1", "iss": HUB}


def test_a_page_cannot_be_framed_and_holds_no_script(flow: Flow) -> None:
    page = flow.page()
    assert page["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page["Content-Security-Policy"]
    assert "<script" not in page.content.decode()


def test_a_client_cannot_write_into_the_page(anns: Client) -> None:
    flow = Flow(anns, register(client_name="<img src=x onerror=alert(1)>")["client_id"])
    assert "<img src=x" not in flow.page().content.decode()


def test_only_the_browser_that_approved_is_remembered(flow: Flow, ann: User) -> None:
    flow.code()
    assert "code" in said(flow.page())
    elsewhere = Flow(signed_in(ann), flow.client_id)
    assert elsewhere.page().status_code == 200
    assert said(elsewhere.page(prompt="none"))["error"] == "interaction_required"
    assert flow.page(prompt="consent").status_code == 200


def test_a_program_on_loopback_is_asked_about_each_time(anns: Client) -> None:
    made = register(redirect_uris=["http://127.0.0.1/callback"])
    flow = Flow(anns, made["client_id"], redirect_uri="http://127.0.0.1:5555/callback")
    flow.code()
    assert flow.page().status_code == 200


def test_a_person_signs_in_first_and_comes_back_to_this_hub_only(db: None, flow: Flow) -> None:
    answer = browser().get("/oauth/authorize", flow.asks())
    assert answer["Location"].startswith("/sign-in/?next=/oauth/authorize%3F")


# --- service keys ---------------------------------------------------------------------------------------


def test_a_service_key_gets_a_token_for_its_text(north: Org) -> None:
    key = services.create_key(north, "robot", roles=["member"])
    answer = post_token(grant_type="client_credentials", client_id=key.row.public_id, client_secret=key.plain)
    assert answer.status_code == 200
    assert answer.json()["access_token"].startswith("mcps_")
    assert "refresh_token" not in answer.json()


@pytest.mark.parametrize("wrong", ["secret", "id", "revoked", "personal", "both ways"])
def test_nothing_else_gets_one(north: Org, ann: User, wrong: str) -> None:
    key = services.create_key(north, "robot", roles=["member"], user=ann if wrong == "personal" else None)
    if wrong == "revoked":
        services.revoke_key(key.row)
    fields = {
        "grant_type": "client_credentials",
        "client_id": "nobody" if wrong == "id" else key.row.public_id,
        "client_secret": "guess" if wrong == "secret" else key.plain,
    }
    basic = base64.b64encode(f"{key.row.public_id}:{key.plain}".encode()).decode()
    more: Any = {"HTTP_AUTHORIZATION": f"Basic {basic}"} if wrong == "both ways" else {}
    answer = Client(HTTP_HOST="hub.test").post("/oauth/token", urlencode(fields), content_type=FORM, **more)
    assert answer.status_code in (400, 401)
    assert "access_token" not in answer.json()


TOKEN: Final = "a" * 32


def _with_token(client: Client) -> Client:
    client.cookies["mcphub_csrf"] = TOKEN
    return client


def test_the_table_has_as_many_rows_as_promised() -> None:
    assert len(ASKED) + len(REDIRECTS) + len(BODIES) + len(PRESENTED) + len(OPENS) >= 60


def test_a_proof_of_all_orgs_is_of_none_but_these(flow: Flow, ann: User, south: Org) -> None:
    services.add_member(south, ann, ["member"])
    services.create_org("west")
    proof: Proof | None = proof_of(
        flow.redeem(flow.code_in(flow.answer(flow.page(), org="all"))).json()["access_token"]
    )
    assert proof is not None
    assert [proof.on(Route("org", slug)).org.slug for slug in ("north", "south")] == ["north", "south"]
    with pytest.raises(NotFound):
        proof.on(Route("org", "west", path="/mcp/west"))
