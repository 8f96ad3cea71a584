"""How a credential looks to an upstream: headers, or a command's environment."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from upstreams.errors import NeedsConnection
from upstreams.transports.origin import header_lines
from upstreams.types import UpstreamSpec

SLOT: Final = "{key}"
BEARER: Final = "Authorization"
MARGIN_S: Final = 30
"""A token that ends within so many seconds is renewed before it is used."""


@dataclass(frozen=True, slots=True)
class Presented:
    """One credential, opened. `pairs` are names and values; `lines` the same as HTTP header lines.

    `until` is when it ends, in seconds since 1970 (None: never); `doubted`: the upstream refused it last time;
    `revision`: of the upstream that it was made for.
    """

    id: str
    version: int
    pairs: tuple[tuple[str, str], ...] = field(repr=False)
    lines: bytes = field(repr=False)
    until: float | None = None
    doubted: bool = False
    revision: int = 0

    def lasts(self, now: float) -> bool:
        """Whether it need not be renewed first."""
        return self.until is None or now < self.until - MARGIN_S


class Presenter(Protocol):
    """What one link presents, exchange by exchange."""

    async def present(self) -> Presented:
        """From memory in the usual case. Raises `NeedsConnection`, `Unreachable`."""

    async def instead_of(self, refused: Presented) -> Presented:
        """Another one in place of what the upstream refused, once. Raises `NeedsConnection`, `Unreachable`."""

    async def refused(self, again: Presented) -> NeedsConnection:
        """Take note that the upstream does not take that one either; what its caller is told."""

    async def accepted(self) -> None:
        """Take note that the upstream takes what it had refused before."""


def header_of(spec_kind: str, key_header: str) -> str:
    """The header that a credential of this kind fills, in lower case."""
    return (BEARER if spec_kind == "oauth" else key_header).lower()


def place_of(spec: UpstreamSpec) -> str:
    """Where a credential for this upstream goes: scheme, host and port of its URL, or exactly its command."""
    if spec.transport == "stdio":
        text = json.dumps([spec.command, *spec.args])
        return f"command {hashlib.sha256(text.encode()).hexdigest()[:32]}"
    parts = urlsplit(spec.url)
    return f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2].lower()}"[:300]


def in_headers(spec: UpstreamSpec, secret: Mapping[str, Any]) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """The secret as this upstream takes it: pairs, and header lines. Raises `Unreachable` for impossible headers."""
    pairs = _pairs(spec, secret)
    return pairs, b"" if spec.transport == "stdio" else header_lines(pairs)


def _pairs(spec: UpstreamSpec, secret: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if spec.credential_kind == "oauth":
        return ((BEARER, f"Bearer {secret['access_token']}"),)
    return ((spec.key_header, spec.key_format.replace(SLOT, str(secret["key"]))),)
