"""What a JWT says before and after its signature was checked (RFC 7519, RFC 9068). No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from mcphub.accounts.selectors import IssuerSpec
from mcphub.accounts.social.identity import Claim, readable_claims
from mcphub.core import base64url
from mcphub.core.strictjson import BadJson, loads
from policies.mapping import texts_of

LEEWAY_S: Final = 60
NEEDED: Final = ["exp", "iss", "aud", "sub"]


@dataclass(frozen=True, slots=True)
class Unproven:
    """What a token says of itself: enough to know whom to ask, nothing to believe."""

    issuer: str
    audiences: frozenset[str]
    algorithm: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Verified:
    """Claims that the issuer has signed. `until` is seconds since 1970, leeway included."""

    subject: str
    until: float
    claims: Mapping[str, Claim]
    application: str


def looks_like_one(secret: str) -> bool:
    """Three parts, of which the first is the base64url of a JSON object."""
    return secret.startswith("eyJ") and secret.count(".") == 2


def read(secret: str) -> Unproven | None:
    """What the token says of itself; None for what is no signed JWT, or asks for extensions that nobody knows."""
    head, body, _ = secret.split(".")
    try:
        header, payload = _object(head), _object(body)
    except (BadJson, ValueError):
        return None
    issuer, algorithm, key_id = payload.get("iss"), header.get("alg"), header.get("kid")
    if not isinstance(issuer, str) or not isinstance(algorithm, str) or "crit" in header:
        return None
    if key_id is not None and not isinstance(key_id, str):
        return None
    return Unproven(issuer, texts_of(payload.get("aud")), algorithm, key_id)


def verify(secret: str, key: jwt.PyJWK, spec: IssuerSpec) -> Verified | None:
    """The claims, if `key` has signed them, for us, now, by an algorithm that the operator pinned."""
    try:
        said: dict[str, Any] = jwt.decode(
            secret,
            key.key,
            algorithms=list(spec.algorithms),
            audience=list(spec.audiences),
            issuer=spec.issuer,
            leeway=LEEWAY_S,
            options={"require": NEEDED},
        )
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    claims = readable_claims(said)
    if not isinstance(said["sub"], str) or not said["sub"]:
        return None
    if not all(texts_of({**said, **claims}.get(name)) & wanted for name, wanted in spec.required):
        return None
    application = next((said[name] for name in ("client_id", "azp") if isinstance(said.get(name), str)), "")
    return Verified(said["sub"], float(said["exp"]) + LEEWAY_S, claims, application[:80])


def _object(part: str) -> dict[str, Any]:
    found = loads(base64url.decode(part))
    if not isinstance(found, dict):
        raise BadJson("not an object")
    return found
