"""Client credentials of service keys (RFC 6749 section 4.4): the key's id and text for a short-lived token.

Nothing is stored: the token is sealed, names its key, and ends with it.
"""

import hashlib
import os
import time
from typing import Final

import msgspec
from django.conf import settings

from gateway.proofs import Proof
from gateway.snapshot import Snapshots
from mcphub.accounts.models import ApiKey
from mcphub.accounts.selectors import key_records
from mcphub.core import tokens
from mcphub.core.keyring import KeyringError, keyring
from mcphub.core.principal import Principal

PREFIX: Final = "mcps_"
PURPOSE: Final = "service-token"
MOST: Final = 10_000


class ServiceToken(msgspec.Struct, frozen=True, array_like=True):
    """What a sealed token holds: the public id of the key, when it ends (seconds since 1970), and what it opens."""

    key: str
    until: int
    opens: str


def issue(client_id: str, secret: str, path: str) -> str | None:
    """A token of the service key that `secret` is, for the endpoint at `path`; None when it is no such key."""
    row = ApiKey.objects.filter(public_id=client_id, user=None, revoked_at=None).first()
    found = row and next((each for each in key_records(str(row.org_id)) if each.public_id == client_id), None)
    if not found or not tokens.matches(secret, found.digest, found.digest_key_id):
        return None
    until = int(time.time() + settings.HUB.limits.token_s)
    return PREFIX + keyring().seal(PURPOSE, msgspec.msgpack.encode(ServiceToken(client_id, until, path)))


class ServiceTokenProver:
    """Implements `gateway.proofs.Prover`: the key behind the token is proven from the snapshot at each use."""

    kind: Final = "service"

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._hash_key: Final = os.urandom(32)
        self._opened: dict[bytes, ServiceToken] = {}

    def claims(self, secret: str) -> bool:
        return secret.startswith(PREFIX)

    def recall(self, secret: str) -> Proof | None:
        token = self._open(secret)
        record = self._snapshots.keys.get(token.key) if token else None
        if token is None or record is None:
            return None
        until = min(token.until, record.expires_at or token.until)
        return Proof(record.principal, until, token.opens)

    def is_guess(self, secret: str) -> bool:
        return self._open(secret) is None

    async def look(self, secret: str) -> None:
        await self._snapshots.look()

    def used(self, secret: str, proof: Proof, source: str) -> None:
        """The key's own use is noted where the token is issued."""

    def now(self, principal: Principal) -> Principal | None:
        return None

    async def again(self, principal: Principal) -> Principal | None:
        return None

    def _open(self, secret: str) -> ServiceToken | None:
        name = hashlib.blake2b(secret.encode(errors="surrogatepass"), digest_size=16, key=self._hash_key).digest()
        found = self._opened.get(name)
        if found is None:
            try:
                plain = keyring().open(PURPOSE, secret[len(PREFIX) :])
                found = msgspec.msgpack.decode(plain, type=ServiceToken)
            except (KeyringError, msgspec.MsgspecError):
                return None
            if len(self._opened) >= MOST:
                self._opened.clear()
            self._opened[name] = found
        return found
