"""The key ring: every key that seals, hashes or chains derives from `MCPHUB_ENCRYPTION_KEYS`.

Keys derive by HKDF-SHA256 (RFC 5869) with a purpose label, and whatever they make carries the id of
its ring key, so that the ring can turn without anything becoming unreadable.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mcphub.core import base64url

NONCE_BYTES: Final = 12
KEY_ID_BYTES: Final = 4


class KeyringError(Exception):
    """A value cannot be opened: altered, moved to another place, or sealed with a key that is gone."""


class KeyMissing(KeyringError):
    """The ring has no key with the id that the value carries."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no encryption key with id {key_id} in MCPHUB_ENCRYPTION_KEYS")
        self.key_id = key_id


class Keyring:
    """Ring keys, newest first. The first one seals and signs; all of them open and verify."""

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ValueError("the key ring is empty")
        self._secrets: Final = {key_id(secret): secret for secret in secrets}
        self.newest: Final = key_id(secrets[0])
        self._derive = lru_cache(maxsize=256)(self._derive_uncached)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of all ring keys, newest first."""
        return tuple(self._secrets)

    def key(self, purpose: str, key_id: str | None = None) -> bytes:
        """32 bytes for `purpose`, from the newest ring key or the one named. Raises `KeyMissing`."""
        return self._derive(purpose, key_id or self.newest)

    def _derive_uncached(self, purpose: str, key_id: str) -> bytes:
        secret = self._secrets.get(key_id)
        if secret is None:
            raise KeyMissing(key_id)
        kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"mcphub/v1", info=purpose.encode())
        return kdf.derive(secret.encode())

    def mac(self, purpose: str, message: bytes, key_id: str | None = None) -> bytes:
        """HMAC-SHA256 of `message`, 32 bytes."""
        return hmac.digest(self.key(purpose, key_id), message, "sha256")

    def seal(self, purpose: str, plain: bytes, bound_to: bytes = b"") -> str:
        """Encrypt (AES-256-GCM) to URL-safe text that opens only with the same purpose and `bound_to`."""
        nonce = os.urandom(NONCE_BYTES)
        box = AESGCM(self.key(purpose)).encrypt(nonce, plain, bound_to)
        return base64url.encode(bytes.fromhex(self.newest) + nonce + box)

    def open(self, purpose: str, sealed: str, bound_to: bytes = b"") -> bytes:
        """The plain bytes of `seal`. Raises `KeyringError` when anything about it is wrong."""
        try:
            raw = base64url.decode(sealed)
        except ValueError:
            raise KeyringError("not a sealed value") from None
        if len(raw) < KEY_ID_BYTES + NONCE_BYTES + 16:
            raise KeyringError("not a sealed value")
        head, nonce, box = (
            raw[:KEY_ID_BYTES],
            raw[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES],
            raw[KEY_ID_BYTES + NONCE_BYTES :],
        )
        try:
            return AESGCM(self.key(purpose, head.hex())).decrypt(nonce, box, bound_to)
        except InvalidTag:
            raise KeyringError("the sealed value was altered or belongs elsewhere") from None

    def sealed_with(self, sealed: str) -> str:
        """The id of the ring key that sealed the value."""
        return base64url.decode(sealed[:8])[:KEY_ID_BYTES].hex()


def key_id(secret: str) -> str:
    """The public id of a ring key: 8 hex digits that tell nothing about it."""
    return hashlib.sha256(b"mcphub/key-id/" + secret.encode()).hexdigest()[: KEY_ID_BYTES * 2]


@lru_cache(maxsize=1)
def keyring() -> Keyring:
    """The ring of this installation, from the settings."""
    from django.conf import settings

    return Keyring(settings.HUB.encryption_keys)
