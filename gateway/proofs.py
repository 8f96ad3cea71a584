"""Who is behind what a client presents: a short list of provers, of which exactly one judges each text.

A text that its prover refuses is refused; no other prover, and no weaker identity, is tried after it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from gateway.types import NeedsScope, NotFound, Route, Unauthenticated
from mcphub.core.principal import Principal


@dataclass(frozen=True, slots=True)
class Proof:
    """What a credential proves: whom, until when (seconds since 1970, None: no end), and what it opens.

    `opens` is the path of the endpoint that it was issued for, which it opens with all that lies beneath; "" opens
    every endpoint of its org. `others` are the same person in the further orgs of a credential for several.
    `lacks` names the scope without which it opens nothing, when it was issued without.
    """

    principal: Principal
    expires_at: float | None = None
    opens: str = ""
    others: tuple[Principal, ...] = ()
    lacks: str = ""

    def on(self, route: Route) -> Principal:
        """Who asks on `route`.

        Raises `Unauthenticated` outside what it opens, `NotFound` in an org not its own, `NeedsScope`.
        """
        if self.opens and route.path != self.opens and not route.path.startswith(self.opens + "/"):
            raise Unauthenticated
        if self.lacks:
            raise NeedsScope(self.lacks)
        if not self.others:
            if route.org and route.org != self.principal.org.slug:
                raise NotFound
            return self.principal
        if not route.org:
            return replace(self.principal, others=self.others)
        for principal in (self.principal, *self.others):
            if principal.org.slug == route.org:
                return principal
        raise NotFound


class Prover(Protocol):
    """One kind of credential. `kind` is what `Principal.credential` begins with, before a colon."""

    @property
    def kind(self) -> str:
        """Nothing for API keys, whose ids have no colon."""

    def claims(self, secret: str) -> bool:
        """Whether the text is of this kind by its syntax, so that nobody else judges it. Cheap, on every request."""

    def recall(self, secret: str) -> Proof | None:
        """What the text proves, from memory; None when it proves nothing or is not known yet."""

    def is_guess(self, secret: str) -> bool:
        """Whether a text that was not recalled counts as a bad one before anything else is asked."""

    async def look(self, secret: str) -> None:
        """Ask where the truth lies and remember the answer, good or bad. Raises `Unavailable`."""

    def used(self, secret: str, proof: Proof, source: str) -> None:
        """Note the use, without waiting."""

    def now(self, principal: Principal) -> Principal | None:
        """The principal as it is now, from memory; None when that does not know its credential (any more)."""

    async def again(self, principal: Principal) -> Principal | None:
        """The same for certain, a wait later; None when the credential has ended. Raises `Unavailable`."""


class Provers:
    """The provers of this process. The last one, for API keys, judges what no other claims."""

    def __init__(self, keys: Prover, others: Sequence[Prover] = ()) -> None:
        self._keys: Final = keys
        self._others: tuple[Prover, ...] = tuple(others)

    def of(self, secret: str) -> Prover:
        """The one prover that judges this text."""
        for prover in self._others:
            if prover.claims(secret):
                return prover
        return self._keys

    def prove(self, secret: str, source: str) -> Proof:
        """What the text proves now, from memory. Raises `Unauthenticated`."""
        prover = self.of(secret)
        proof = prover.recall(secret)
        if proof is None or (proof.expires_at is not None and proof.expires_at <= time.time()):
            raise Unauthenticated
        prover.used(secret, proof, source)
        return proof

    def now(self, principal: Principal) -> Principal:
        """The principal as memory has it: roles may have changed since a stream was opened."""
        prover = self._by_kind(principal)
        found = prover.now(principal) if prover else None
        return found if found is not None else principal

    async def again(self, principal: Principal) -> Principal:
        """The principal a wait later. Raises `NotFound` when its credential has ended, `Unavailable`."""
        if not principal.credential:
            return principal
        prover = self._by_kind(principal)
        found = await prover.again(principal) if prover else None
        if found is None:
            raise NotFound
        return found

    def _by_kind(self, principal: Principal) -> Prover | None:
        kind, colon, _ = principal.credential.partition(":")
        if not colon:
            return self._keys
        return next((prover for prover in self._others if prover.kind == kind), None)
