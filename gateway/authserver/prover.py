"""Who is behind a hub access token: one query outside the loop, remembered for some seconds, good or bad."""

import asyncio
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error as DatabaseFault
from oauth2_provider.models import RefreshToken

from gateway.authserver import approvals, tokens
from gateway.failures import NOT_CONFIRMED, unavailable
from gateway.proofs import Proof
from gateway.snapshot import Snapshots
from mcphub.core import aio, clock
from mcphub.core.env import storage_s
from mcphub.core.principal import Principal

KIND: Final = "token"
MOST: Final = 10_000
WATCH_S: Final = 1.0
IN_USE_S: Final = 10.0
TOUCH_EVERY_S: Final = 60
NEEDED_SCOPE: Final = "mcp"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Known:
    """A token that was looked up: what it proves (None: nothing), under which checksum, when, and its last use."""

    checksum: str
    proof: Proof | None
    checked_at: float
    used_at: float


class TokenProver:
    """Implements `gateway.proofs.Prover`.

    What is in use is looked up anew each second, all at once, so that an end is seen within a second or two and no
    call waits for it. What could not be confirmed for `token_cache_s` proves nothing.
    """

    kind: Final = KIND

    def __init__(self, snapshots: Snapshots) -> None:
        self._hash_key: Final = os.urandom(32)
        self._known: dict[bytes, Known] = {}
        self._by_credential: dict[str, Proof] = {}
        self._looking: dict[bytes, asyncio.Task[None]] = {}
        self._touched: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._stale_s = settings.HUB.limits.token_cache_s
        snapshots.on_change.append(self._wake.set)

    def claims(self, secret: str) -> bool:
        return secret.startswith(tokens.ACCESS)

    def recall(self, secret: str) -> Proof | None:
        known = self._known.get(self._hash(secret))
        now = clock.monotonic()
        if known is None or now - known.checked_at > self._stale_s:
            return None
        known.used_at = now
        return known.proof

    def is_guess(self, secret: str) -> bool:
        """What this hub never made, or refused a moment ago."""
        known = self._known.get(self._hash(secret))
        refused = known is not None and known.proof is None and self._is_fresh(known)
        return refused or not tokens.was_issued(secret)

    async def look(self, secret: str) -> None:
        name = self._hash(secret)
        known = self._known.get(name)
        if (known is not None and self._is_fresh(known)) or not tokens.was_issued(secret):
            return
        looking = self._looking.get(name)
        if looking is None:
            checksum = approvals.digest(secret)
            looking = self._looking[name] = aio.spawn(self._check({name: checksum}), name="look-up-token")
            looking.add_done_callback(lambda _: self._looking.pop(name, None))
        try:
            async with asyncio.timeout(storage_s(settings.HUB)):
                await asyncio.shield(looking)
        except (TimeoutError, DatabaseFault):
            raise unavailable(NOT_CONFIRMED) from None
        if self._watcher is None or self._watcher.done():
            self._watcher = aio.spawn(self._watch(), name="watch-tokens")

    def used(self, secret: str, proof: Proof, source: str) -> None:
        now = clock.monotonic()
        credential = proof.principal.credential
        if now - self._touched.get(credential, float("-inf")) >= TOUCH_EVERY_S:
            if len(self._touched) >= MOST:
                self._touched.clear()
            self._touched[credential] = now
            aio.spawn(aio.in_thread(approvals.touch, credential.partition(":")[2], source), name="touch-approval")

    def now(self, principal: Principal) -> Principal | None:
        proof = self._by_credential.get(principal.credential)
        return _same(proof, principal) if proof else None

    async def again(self, principal: Principal) -> Principal | None:
        try:
            async with asyncio.timeout(storage_s(settings.HUB)):
                proof = await aio.in_thread(_proof_of_approval, UUID(principal.credential.partition(":")[2]))
        except (TimeoutError, DatabaseFault):
            raise unavailable(NOT_CONFIRMED) from None
        return _same(proof, principal) if proof else None

    # --- looking up ----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look up what is in use again and again, until nothing is."""
        failing = False
        while in_use := self._in_use():
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._check(in_use)
                failing = False
            except DatabaseFault as fault:
                if not failing:
                    log.warning("tokens_not_confirmed", error=type(fault).__name__)
                failing = True

    def _in_use(self) -> dict[bytes, str]:
        """What was used lately; the rest is forgotten."""
        since = clock.monotonic() - IN_USE_S
        self._known = {name: known for name, known in self._known.items() if known.used_at >= since}
        held = {known.proof.principal.credential for known in self._known.values() if known.proof}
        self._by_credential = {each: proof for each, proof in self._by_credential.items() if each in held}
        return {name: known.checksum for name, known in self._known.items() if known.proof is not None}

    async def _check(self, names: dict[bytes, str]) -> None:
        asked_at = clock.monotonic()
        found = await aio.in_thread(proofs, list(names.values()))
        if len(self._known) + len(names) > MOST:
            self._known.clear()
        for name, checksum in names.items():
            before = self._known.get(name)
            proof = found.get(checksum)
            self._known[name] = Known(checksum, proof, asked_at, before.used_at if before else asked_at)
            if proof is not None:
                self._by_credential[proof.principal.credential] = proof

    def _is_fresh(self, known: Known) -> bool:
        return clock.monotonic() - known.checked_at <= self._stale_s

    def _hash(self, secret: str) -> bytes:
        return hashlib.blake2b(secret.encode(errors="surrogatepass"), digest_size=16, key=self._hash_key).digest()


def proofs(checksums: Iterable[str]) -> dict[str, Proof]:
    """What the access tokens with these checksums prove now (blocking); those that prove nothing are left out."""
    columns = ("token_family", "access_token__token_checksum", "access_token__expires", "access_token__scope")
    rows = RefreshToken.objects.filter(access_token__token_checksum__in=list(checksums), revoked=None)
    found = list(rows.values_list(*columns))
    living = {each.pk: each for each in approvals.living().filter(pk__in={row[0] for row in found})}
    people = approvals.principals(living.values())
    return {
        checksum: _proof(people[family], expires.timestamp(), living[family].path, scope)
        for family, checksum, expires, scope in found
        if people.get(family)
    }


def _proof(people: tuple[Principal, ...], until: float | None, path: str, scope: str) -> Proof:
    lacks = "" if NEEDED_SCOPE in scope.split() else NEEDED_SCOPE
    return Proof(people[0], until, path, people[1:], lacks)


def _proof_of_approval(approval_id: UUID) -> Proof | None:
    approval = approvals.living().filter(pk=approval_id).first()
    people = approvals.principals([approval])[approval.pk] if approval else ()
    return _proof(people, None, approval.path, approval.scope) if approval and people else None


def _same(proof: Proof, principal: Principal) -> Principal | None:
    """The principal that `proof` has in the org of `principal`."""
    own = next((each for each in (proof.principal, *proof.others) if each.org.id == principal.org.id), None)
    return replace(own, others=proof.others) if own is not None and principal.others else own
