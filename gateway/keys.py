"""API keys, proven from the snapshot. A client that calls again costs one fast hash."""

import hashlib
import os
import time
from typing import Final

from gateway.proofs import Proof
from gateway.snapshot import Snapshots
from mcphub.accounts.selectors import KeyRecord, touch_key
from mcphub.accounts.services import rehash_key
from mcphub.core import aio, clock, tokens
from mcphub.core.principal import Principal

MOST: Final = 10_000
TOUCH_EVERY_S: Final = 60


class ProvenKeys:
    """The proof behind each text that was checked in full since the last change of any key.

    Remembered are BLAKE2b hashes (RFC 7693) under a key of this process, never the text.
    """

    def __init__(self) -> None:
        self._hash_key: Final = os.urandom(32)
        self._proofs: Final[dict[bytes, Proof]] = {}

    def find(self, plain: str) -> Proof | None:
        """The proof of a key that was kept before."""
        return self._proofs.get(self._hash(plain))

    def keep(self, plain: str, proof: Proof) -> None:
        """`plain` was proven to be this key."""
        if len(self._proofs) >= MOST:
            self._proofs.clear()
        self._proofs[self._hash(plain)] = proof

    def clear(self) -> None:
        """Keys may have changed: prove everything anew."""
        self._proofs.clear()

    def _hash(self, plain: str) -> bytes:
        return hashlib.blake2b(plain.encode(errors="surrogatepass"), digest_size=16, key=self._hash_key).digest()


class KeyProver:
    """Implements `gateway.proofs.Prover` for whatever no other prover claims."""

    kind: Final = ""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._proven = ProvenKeys()
        self._touched: dict[str, float] = {}
        snapshots.on_change.append(self._proven.clear)

    def claims(self, secret: str) -> bool:
        return True

    def recall(self, secret: str) -> Proof | None:
        return self._proven.find(secret) or self._prove(secret)

    def is_guess(self, secret: str) -> bool:
        """Every unknown one: another process may have made it a moment ago, but rarely many of them."""
        return True

    async def look(self, secret: str) -> None:
        await self._snapshots.look()

    def used(self, secret: str, proof: Proof, source: str) -> None:
        """At most once a minute; a hash under an older ring key moves to the newest."""
        now = clock.monotonic()
        public_id = proof.principal.credential
        if now - self._touched.get(public_id, float("-inf")) >= TOUCH_EVERY_S:
            self._touched[public_id] = now
            if (record := self._snapshots.keys.get(public_id)) is not None:
                self._touch(record, secret, source)

    def now(self, principal: Principal) -> Principal | None:
        record = self._snapshots.keys.get(principal.credential)
        return record.principal if record is not None and not _is_over(record) else None

    async def again(self, principal: Principal) -> Principal | None:
        return self.now(principal)

    def _prove(self, secret: str) -> Proof | None:
        """The proof of this key, found by its id and compared in constant time."""
        for public_id in tokens.public_ids_of(secret):
            record = self._snapshots.keys.get(public_id)
            if record is not None and tokens.matches(secret, record.digest, record.digest_key_id):
                proof = Proof(record.principal, record.expires_at)
                self._proven.keep(secret, proof)
                return proof
        return None

    @staticmethod
    def _touch(record: KeyRecord, secret: str, source: str) -> None:
        aio.spawn(aio.in_thread(touch_key, record.id, source), name="touch-key")
        if tokens.needs_rehash(record.digest_key_id):
            aio.spawn(aio.in_thread(rehash_key, record.id, secret), name="rehash-key")


def _is_over(record: KeyRecord) -> bool:
    return record.expires_at is not None and record.expires_at <= time.time()
