"""API keys: opaque text for machines, of which the hub keeps a keyed hash only.

A minted key reads `mcph_<public id>_<secret>`; it is looked up by its public id and compared in constant
time. A literal that an operator chose is looked up by a keyed hash of itself.
"""

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from mcphub.core.keyring import KeyMissing, keyring

PREFIX: Final = "mcph_"
PUBLIC_ID_BYTES: Final = 10
SECRET_BYTES: Final = 32
LITERAL_MIN_CHARS: Final = 16
MINTED: Final = re.compile(rf"\A{PREFIX}([a-z2-7]{{16}})_[a-z2-7]{{52}}\Z")
DIGEST: Final = "api-key"
LOOKUP: Final = "api-key-lookup"


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A key at its making: `plain` is shown once and never kept; the rest is what the row holds."""

    plain: str = field(repr=False)
    public_id: str
    digest: str = field(repr=False)
    digest_key_id: str


def mint() -> MintedKey:
    """A new random key with a 256-bit secret."""
    return hashed(f"{PREFIX}{_random(PUBLIC_ID_BYTES)}_{_random(SECRET_BYTES)}")


def for_literal(plain: str) -> MintedKey:
    """The row values for a key whose text an operator chose (`--api-key`, `MCPHUB_ADMIN_KEY`)."""
    return hashed(plain)


def hashed(plain: str) -> MintedKey:
    """The row values for `plain` under the newest ring key."""
    newest = keyring().newest
    return MintedKey(
        plain=plain,
        public_id=_parsed_id(plain) or _lookup_id(plain, newest),
        digest=_digest(plain, newest),
        digest_key_id=newest,
    )


def public_ids_of(plain: str) -> tuple[str, ...]:
    """The public ids under which `plain` may be stored: its own, or one a ring key for a literal."""
    own = _parsed_id(plain)
    if own:
        return (own,)
    return tuple(_lookup_id(plain, key_id) for key_id in keyring().key_ids)


def matches(plain: str, digest: str, digest_key_id: str) -> bool:
    """Whether `plain` is the key behind `digest`, in constant time; False when its ring key is gone."""
    try:
        found = _digest(plain, digest_key_id)
    except KeyMissing:
        return False
    return hmac.compare_digest(found, digest)


def needs_rehash(digest_key_id: str) -> bool:
    """Whether the stored hash was made with an older ring key than the newest."""
    return digest_key_id != keyring().newest


def _parsed_id(plain: str) -> str | None:
    found = MINTED.match(plain)
    return found.group(1) if found else None


def _digest(plain: str, key_id: str) -> str:
    return keyring().mac(DIGEST, plain.encode(errors="surrogatepass"), key_id).hex()


def _lookup_id(plain: str, key_id: str) -> str:
    return f"l_{keyring().mac(LOOKUP, plain.encode(errors='surrogatepass'), key_id).hex()[:20]}"


def _random(size: int) -> str:
    return base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=").lower()
