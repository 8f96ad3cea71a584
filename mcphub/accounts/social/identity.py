"""What a provider vouches for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Claim = str | bool | tuple[str, ...]

PROTOCOL: Final = frozenset(
    {
        "iss",
        "aud",
        "exp",
        "iat",
        "nbf",
        "nonce",
        "at_hash",
        "c_hash",
        "s_hash",
        "azp",
        "sid",
        "jti",
        "auth_time",
        "acr",
    }
    | {"amr", "access_token", "id_token", "refresh_token", "token_type", "expires_in", "scope", "sub"}
)
MOST: Final = 100
DEPTH: Final = 3
LIST: Final = 500
CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody as a provider knows them. `key` is theirs for ever, `email` "" unless the provider gave one."""

    provider: str
    issuer: str
    subject: str
    email: str
    verified: bool
    name: str
    claims: Mapping[str, Claim] = field(default_factory=dict)


def readable_claims(raw: Mapping[str, Any]) -> dict[str, Claim]:
    """The claims that roles may depend on: texts, booleans and lists of texts, and nothing of the protocol's own.

    Longer ones are left out whole: a list that is cut would be a claim that nobody made.
    """
    found: dict[str, Claim] = {}
    for name, value in _flat(raw, "", DEPTH):
        claim = _claim(value)
        if claim is not None and len(found) < MOST:
            found[name] = claim
    return found


def _flat(raw: Mapping[str, Any], before: str, deeper: int) -> Iterator[tuple[str, Any]]:
    """Members of objects by their path with dots, as in `realm_access.roles`."""
    for name, value in raw.items():
        if not before and name in PROTOCOL:
            continue
        if isinstance(value, dict) and deeper:
            yield from _flat(value, f"{before}{name}.", deeper - 1)
        else:
            yield f"{before}{name}", value


def _claim(value: Any) -> Claim | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= CHARS else None
    if isinstance(value, list) and len(value) <= LIST and all(isinstance(item, str) for item in value):
        return tuple(value) if all(len(item) <= CHARS for item in value) else None
    return None
