"""Who is behind a token of an issuer that some org trusts. Nothing is asked of anybody for any other text."""

import asyncio
import hashlib
import json
import os
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from django.conf import settings

from gateway.external.keys import IssuerKeys
from gateway.external.tokens import Unproven, Verified, looks_like_one, read, verify
from gateway.failures import NOT_CONFIRMED, unavailable
from gateway.proofs import Proof
from gateway.snapshot import OrgSnapshot, Snapshots
from mcphub.accounts.selectors import IssuerSpec
from mcphub.core.principal import Principal
from policies.mapping import mapped

KIND: Final = "jwt"
MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Held:
    """A token that was proven, so that its principal can be made anew when roles or issuers change."""

    spec: IssuerSpec
    org_id: str
    verified: Verified


class ExternalProver:
    """Implements `gateway.proofs.Prover`.

    A proof is remembered until any org changes, then made anew from keys in memory: an issuer that an operator takes
    away ends with the snapshot that it was in.
    """

    kind: Final = KIND

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._keys = IssuerKeys()
        self._hash_key: Final = os.urandom(32)
        self._proofs: dict[bytes, Proof] = {}
        self._held: dict[str, Held] = {}
        self._trusted: dict[str, list[tuple[OrgSnapshot, IssuerSpec]]] = {}
        snapshots.on_change.append(self._changed)

    def claims(self, secret: str) -> bool:
        return looks_like_one(secret)

    def recall(self, secret: str) -> Proof | None:
        name = self._hash(secret)
        found = self._proofs.get(name)
        if found is None and (found := self._prove(secret)) is not None:
            if len(self._proofs) >= MOST:
                self._proofs.clear()
            self._proofs[name] = found
        return found

    def is_guess(self, secret: str) -> bool:
        """What no trusted issuer can have said, or what its known key has not signed."""
        said = read(secret)
        if said is None or not self._matching(said):
            return True
        return self._keys.find(said.issuer, said.key_id) is not None or not self._keys.may_ask(said.issuer)

    async def look(self, secret: str) -> None:
        said = read(secret)
        if said is None:
            return
        if not self._matching(said):
            await self._snapshots.look()
        if not self._matching(said) or self._keys.find(said.issuer, said.key_id) is not None:
            return
        try:
            async with asyncio.timeout(settings.HUB.limits.probe_s):
                await self._keys.refresh(said.issuer)
        except TimeoutError:
            raise unavailable(NOT_CONFIRMED) from None
        if not self._keys.are_known(said.issuer):
            raise unavailable(NOT_CONFIRMED)

    def used(self, secret: str, proof: Proof, source: str) -> None:
        held = self._held.get(proof.principal.credential)
        if held is not None:
            self._keys.refresh_soon(held.spec.issuer)

    def now(self, principal: Principal) -> Principal | None:
        held = self._held.get(principal.credential)
        if held is None or held.verified.until <= time.time():
            return None
        org = self._snapshots.orgs.get(held.org_id)
        return principal_of(org, held.spec, held.verified) if org is not None and held.spec in org.issuers else None

    async def again(self, principal: Principal) -> Principal | None:
        return self.now(principal)

    def _prove(self, secret: str) -> Proof | None:
        said = read(secret)
        key = self._keys.find(said.issuer, said.key_id) if said else None
        if said is None or key is None:
            return None
        found = [
            (org, spec, verified)
            for org, spec in self._matching(said)
            if (verified := verify(secret, key, spec)) is not None
        ]
        people: dict[str, Principal] = {}
        for org, spec, verified in found:
            if org.org.id not in people:
                people[org.org.id] = self._hold(org, spec, verified)
        if not people:
            return None
        first, *others = people.values()
        return Proof(first, found[0][2].until, others=tuple(others))

    def _hold(self, org: OrgSnapshot, spec: IssuerSpec, verified: Verified) -> Principal:
        principal = principal_of(org, spec, verified)
        if len(self._held) >= MOST:
            self._held.clear()
        self._held[principal.credential] = Held(spec, org.org.id, verified)
        return principal

    def _matching(self, said: Unproven) -> list[tuple[OrgSnapshot, IssuerSpec]]:
        """The orgs, with their rows, that may take such a token."""
        return [
            (org, spec)
            for org, spec in self._trusted.get(said.issuer, ())
            if said.audiences & spec.audiences and said.algorithm in spec.algorithms
        ]

    def _changed(self) -> None:
        trusted: dict[str, list[tuple[OrgSnapshot, IssuerSpec]]] = {}
        for org in sorted(self._snapshots.orgs.values(), key=lambda each: each.org.slug):
            for spec in org.issuers:
                trusted.setdefault(spec.issuer, []).append((org, spec))
        self._trusted = trusted
        self._proofs.clear()
        self._keys.forget_others(frozenset(trusted))

    def _hash(self, secret: str) -> bytes:
        return hashlib.blake2b(secret.encode(errors="surrogatepass"), digest_size=16, key=self._hash_key).digest()


def principal_of(org: OrgSnapshot, spec: IssuerSpec, verified: Verified) -> Principal:
    """Whom a token stands for in an org: the roles of its issuer, and those that its claims give.

    Nobody of the hub's own people is behind it. Its credential differs with what it claims, for the same subject may
    have tokens that say more and others that say less.
    """
    claims = {name: list(value) if isinstance(value, tuple) else value for name, value in verified.claims.items()}
    whole = json.dumps([verified.subject, claims, verified.application], sort_keys=True).encode()
    names = (claims.get(name) for name in ("email", "preferred_username", "name"))
    label = next((name for name in names if isinstance(name, str) and name), verified.subject)
    return Principal(
        id=f"external:{spec.id}:{_short(verified.subject.encode())}",
        kind="service",
        label=f"{label[:80]} ({spec.name})",
        org=org.org,
        roles=spec.roles | mapped(org.mappings, spec.name, claims).roles,
        credential=f"{KIND}:{spec.id}:{_short(whole)}",
        application=verified.application,
        attributes=MappingProxyType({**claims, "issuer": spec.name, "subject": verified.subject}),
    )


def _short(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]
