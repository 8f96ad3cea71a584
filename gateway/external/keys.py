"""The public keys of issuers: found by discovery, kept, and asked for again, not often, for an unknown one."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt
import structlog
from django.conf import settings

from mcphub.core import aio, clock, http
from mcphub.core.addresses import issuer_fault
from mcphub.core.netguard import EgressBlocked
from mcphub.core.strictjson import BadJson, loads

MOST_BYTES: Final = 256 * 1024
MOST_KEYS: Final = 50
PUBLIC: Final = frozenset({"RSA", "EC", "OKP"})

log = structlog.get_logger(__name__)


class Unusable(Exception):
    """The issuer's documents cannot be used; the message says why."""


@dataclass(slots=True)
class Kept:
    """What is known of an issuer: its keys by id (None: it gives none), when they came, when it was asked last."""

    keys: Mapping[str | None, jwt.PyJWK] = field(default_factory=dict)
    came_at: float = float("-inf")
    asked_at: float = float("-inf")
    asking: "asyncio.Task[None] | None" = None


class IssuerKeys:
    """The keys of all issuers, in this process."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def find(self, issuer: str, key_id: str | None) -> jwt.PyJWK | None:
        """The key that a token names, from memory; without a name the only one that there is."""
        kept = self._kept.get(issuer)
        if kept is None:
            return None
        if key_id is None:
            return next(iter(kept.keys.values())) if len(kept.keys) == 1 else None
        return kept.keys.get(key_id)

    def are_known(self, issuer: str) -> bool:
        """Whether the issuer's keys were read at all."""
        return issuer in self._kept and bool(self._kept[issuer].keys)

    def may_ask(self, issuer: str) -> bool:
        """Whether it was not asked a moment ago."""
        kept = self._kept.get(issuer)
        return kept is None or clock.monotonic() - kept.asked_at >= settings.HUB.limits.issuer_retry_s

    async def refresh(self, issuer: str) -> None:
        """Read the issuer's keys anew, once for all who wait for it. A failure leaves what was known."""
        kept = self._kept.setdefault(issuer, Kept())
        if kept.asking is None:
            if not self.may_ask(issuer):
                return
            kept.asked_at = clock.monotonic()
            kept.asking = aio.spawn(self._ask(issuer, kept), name="issuer-keys")
        await asyncio.shield(kept.asking)

    def refresh_soon(self, issuer: str) -> None:
        """Read them anew in the background when they are old: a key that was withdrawn must not work for ever."""
        kept = self._kept.get(issuer)
        if kept is not None and kept.asking is None:
            age = clock.monotonic() - kept.came_at
            if age >= settings.HUB.limits.issuer_keys_s and self.may_ask(issuer):
                kept.asked_at = clock.monotonic()
                kept.asking = aio.spawn(self._ask(issuer, kept), name="issuer-keys")

    def forget_others(self, issuers: frozenset[str]) -> None:
        """Keep only what some org still trusts."""
        self._kept = {issuer: kept for issuer, kept in self._kept.items() if issuer in issuers}

    async def _ask(self, issuer: str, kept: Kept) -> None:
        try:
            kept.keys = await _read(issuer)
            kept.came_at = clock.monotonic()
        except (
            Unusable,
            httpx.HTTPError,
            httpx.InvalidURL,
            ValueError,
            EgressBlocked,
            http.RedirectedElsewhere,
        ) as error:
            log.warning("issuer_keys_not_read", issuer=issuer, error=str(error) or type(error).__name__)
        finally:
            kept.asking = None


async def _read(issuer: str) -> Mapping[str | None, jwt.PyJWK]:
    async with http.client(settings.HUB.egress_allow, settings.HUB.limits.probe_s) as client:
        said = await _discovered(client, issuer)
        if said.get("issuer") != issuer:
            raise Unusable(f"its discovery document names the issuer {str(said.get('issuer'))[:200]!r}")
        place = said.get("jwks_uri")
        if not isinstance(place, str) or issuer_fault(place.partition("?")[0]):
            raise Unusable("its discovery document names no place of keys")
        found = (await _document(client, place)).get("keys")
    if not isinstance(found, list):
        raise Unusable("its document of keys has none")
    return {key.key_id: key for key in filter(None, map(_key, found[:MOST_KEYS]))}


async def _discovered(client: httpx.AsyncClient, issuer: str) -> dict[str, Any]:
    """OpenID Connect discovery, or that of RFC 8414, which puts the well-known part before the issuer's path."""
    parts = urlsplit(issuer)
    openid = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    oauth = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"
    try:
        return await _document(client, openid)
    except Unusable:
        return await _document(client, oauth)


async def _document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    body = bytearray()
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
        if answer.status_code != httpx.codes.OK:
            raise Unusable(f"{url} answers {answer.status_code}")
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                raise Unusable(f"{url} is too large")
    try:
        found = loads(bytes(body))
    except BadJson as error:
        raise Unusable(f"{url} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unusable(f"{url} is no JSON object")
    return found


def _key(raw: Any) -> jwt.PyJWK | None:
    """A public key that may verify signatures; None for any other."""
    if not isinstance(raw, dict) or raw.get("kty") not in PUBLIC or str(raw.get("crv")).startswith("X"):
        return None
    if raw.get("use", "sig") != "sig" or not isinstance(raw.get("kid", ""), str):
        return None
    try:
        return jwt.PyJWK(raw)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
