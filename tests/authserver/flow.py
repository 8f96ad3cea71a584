"""A client and a person at the authorization server, over Django's test client."""

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from django.test import Client

from gateway.authserver.approvals import digest
from gateway.authserver.prover import proofs
from gateway.proofs import Proof

HUB: Final = "http://hub.test"
CALLBACK: Final = "https://app.example/callback"
FORM: Final = "application/x-www-form-urlencoded"


def browser() -> Client:
    """Somebody's browser, which must send CSRF tokens."""
    return Client(HTTP_HOST="hub.test", enforce_csrf_checks=True)


def pkce() -> tuple[str, str]:
    """A verifier and its challenge."""
    verifier = secrets.token_urlsafe(48)
    return verifier, base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def register(**said: Any) -> dict[str, Any]:
    """Make a client known; what it was told."""
    document = {
        "client_name": "Desk",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        **said,
    }
    answer = Client(HTTP_HOST="hub.test").post(
        "/oauth/register", json.dumps(document), content_type="application/json"
    )
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


@dataclass
class Flow:
    """One client with one person; `browser` is signed in."""

    browser: Client
    client_id: str
    redirect_uri: str = CALLBACK
    path: str = "/mcp"
    verifier: str = ""
    changes: dict[str, Any] = field(default_factory=dict)

    def asks(self, **changes: Any) -> dict[str, Any]:
        """The parameters of an authorization request; None takes one out."""
        self.verifier, challenge = pkce()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": "s-1",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": f"{HUB}{self.path}",
            "scope": "mcp",
            **changes,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def page(self, **changes: Any) -> Any:
        """What the authorization endpoint answers the person's browser."""
        return self.browser.get("/oauth/authorize", self.asks(**changes))

    def answer(self, page: Any, allow: str = "allow", using: Client | None = None, **changes: Any) -> Any:
        """The person answers the page, in `using` when that is another browser."""
        fields = _fields(page.content.decode()) | {"answer": allow} | changes
        return (using or self.browser).post("/oauth/authorize", fields)

    def code(self, **changes: Any) -> str:
        """A code, after the person agreed."""
        return self.code_in(self.answer(self.page(**changes)))

    @staticmethod
    def code_in(answer: Any) -> str:
        assert answer.status_code == 302, answer.content
        return parse_qs(urlsplit(answer["Location"]).query)["code"][0]

    def redeem(self, code: str, **changes: Any) -> Any:
        """The client presents its code."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": self.verifier,
            "resource": f"{HUB}{self.path}",
            **changes,
        }
        return post_token(**fields)

    def tokens(self, **changes: Any) -> dict[str, Any]:
        """A pair of tokens, all in order."""
        answer = self.redeem(self.code(**changes))
        assert answer.status_code == 200, answer.content
        found: dict[str, Any] = answer.json()
        return found

    def refresh(self, refresh_token: str, **changes: Any) -> Any:
        return post_token(
            grant_type="refresh_token", refresh_token=refresh_token, client_id=self.client_id, **changes
        )


def post_token(**fields: Any) -> Any:
    """What the token endpoint answers; None takes a field out."""
    kept = {name: value for name, value in fields.items() if value is not None}
    return Client(HTTP_HOST="hub.test").post("/oauth/token", _encoded(kept), content_type=FORM)


def _encoded(fields: dict[str, Any]) -> str:
    from urllib.parse import urlencode

    return urlencode(fields, doseq=True)


def proof_of(access_token: str) -> Proof | None:
    """What the hub finds behind a token now."""
    return proofs([digest(access_token)]).get(digest(access_token))


def said(answer: Any) -> dict[str, str]:
    """What an answer tells the client at its redirect URI."""
    return {name: values[0] for name, values in parse_qs(urlsplit(answer["Location"]).query).items()}


def _fields(page: str) -> dict[str, str]:
    form = page[page.index('id="consent"') :]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
