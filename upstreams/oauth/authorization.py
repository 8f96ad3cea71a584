"""The redirect to an authorization server and the answer that comes back: pure."""

import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mcp.client.auth.oauth2 import PKCEParameters

from upstreams.oauth.errors import Refused
from upstreams.oauth.types import Answer, Challenge, Client, Protected, Server

OFFLINE: Final = "offline_access"


@dataclass(frozen=True, slots=True)
class Question:
    """An authorization to ask for: where the browser goes, and what must be known when it comes back."""

    url: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


def ask(server: Server, client: Client, *, redirect_uri: str, resource: str, scopes: tuple[str, ...]) -> Question:
    """The question to `server`, with a new state and verifier. Raises `Refused` for what no browser may open."""
    parts = urlsplit(server.authorization_endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("The authorization server publishes an address that is not a web page.")
    pkce = PKCEParameters.generate()
    state = secrets.token_urlsafe(32)
    query = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": pkce.code_challenge,
        "code_challenge_method": "S256",
        "resource": resource,
    }
    if scopes:
        query["scope"] = " ".join(scopes)
    if OFFLINE in scopes:
        query["prompt"] = "consent"  # OpenID Connect Core, 11: else the scope is ignored
    own = parse_qsl(parts.query, keep_blank_values=True)
    url = urlunsplit(parts._replace(query=urlencode([*own, *query.items()]), fragment=""))
    return Question(url, state, pkce.code_verifier)


def scopes_for(
    protected: Protected, challenge: Challenge, configured: tuple[str, ...], granted: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """What to ask for: the challenge's, else what the upstream names, else nothing.

    What an operator wrote takes the place of what the upstream names. `granted` is what is held already: a challenge
    adds to it. `offline_access` is added where the server has it, so that there is something to refresh with.
    """
    if challenge.scope:
        chosen = (*granted, *configured, *challenge.scope.split())
    else:
        chosen = (*granted, *(configured or protected.scopes))
    if chosen and OFFLINE in protected.server.scopes:
        chosen = (*chosen, OFFLINE)
    return tuple(dict.fromkeys(chosen))


def check_issuer(answer: Answer, issuer: str, *, promised: bool) -> None:
    """RFC 9207: the answer comes from the server that was asked, compared letter by letter. Raises `Refused`.

    `promised`: the server's metadata says that it names itself in answers.
    """
    if answer.iss != issuer and (answer.iss or promised):
        raise Refused("The answer comes from another authorization server than the one that was asked.")
