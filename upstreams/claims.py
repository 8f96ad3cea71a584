"""Telling an upstream who is calling: a short-lived JSON web token for exactly this upstream and call.

ES256 (RFC 7518) under a key that derives from the hub's key ring; the public halves of all ring keys stand at
`/.well-known/mcphub/keys.json` (RFC 7517), so that a turn of the ring breaks nothing. The shape is described in
`docs/claims.md`.
"""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from mcphub.core.keyring import keyring
from mcphub.core.principal import Principal

META_KEY: Final = "mcphub/caller"
PURPOSE: Final = "claims"
ALGORITHM: Final = "ES256"
LIFE_S: Final = 60
EARLY_S: Final = 5
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@lru_cache(maxsize=16)
def _key(key_id: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(keyring().key(PURPOSE, key_id)) % (P256_ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def public_keys() -> dict[str, Any]:
    """The JWK set with which upstreams check tokens."""
    keys = []
    for key_id in keyring().key_ids:
        jwk = ECAlgorithm.to_jwk(_key(key_id).public_key(), as_dict=True)
        keys.append({**jwk, "kid": key_id, "use": "sig", "alg": ALGORITHM})
    return {"keys": keys}


def audience_of(slug: str, url: str) -> str:
    """What `aud` names: the upstream's URL without query and fragment, for a command `urn:mcphub:upstream:SLUG`."""
    if not url:
        return f"urn:mcphub:upstream:{slug}"
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path}"


def token(principal: Principal, *, issuer: str, audience: str, call_id: str) -> str:
    """The signed claims about one call, good for a minute."""
    now = int(time.time())
    claims: Mapping[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": principal.id,
        "iat": now,
        "nbf": now - EARLY_S,
        "exp": now + LIFE_S,
        "jti": call_id,
        "kind": principal.kind,
        "name": principal.label,
        "org": principal.org.slug,
        "org_id": principal.org.id,
        "roles": sorted(principal.roles),
        "application": principal.application,
    }
    newest = keyring().newest
    return jwt.encode(dict(claims), _key(newest), algorithm=ALGORITHM, headers={"kid": newest})
