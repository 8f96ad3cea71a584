"""Keys that were proven already, so that a client which calls again costs one fast hash."""

import hashlib
import os
from typing import Final

from mcphub.accounts.selectors import KeyRecord

MOST: Final = 10_000


class ProvenKeys:
    """The record behind each text that was checked in full since the last change of any key.

    Remembered are BLAKE2b hashes (RFC 7693) under a key of this process, never the text.
    """

    def __init__(self) -> None:
        self._hash_key: Final = os.urandom(32)
        self._records: Final[dict[bytes, KeyRecord]] = {}

    def find(self, plain: str) -> KeyRecord | None:
        """The record of a key that was kept before."""
        return self._records.get(self._hash(plain))

    def keep(self, plain: str, record: KeyRecord) -> None:
        """`plain` was proven to be this key."""
        if len(self._records) >= MOST:
            self._records.clear()
        self._records[self._hash(plain)] = record

    def clear(self) -> None:
        """Keys may have changed: prove everything anew."""
        self._records.clear()

    def _hash(self, plain: str) -> bytes:
        return hashlib.blake2b(plain.encode(errors="surrogatepass"), digest_size=16, key=self._hash_key).digest()
