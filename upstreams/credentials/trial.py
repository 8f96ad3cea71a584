"""A credential tried on its upstream before it is kept: a connection of its own, which lists tools and ends."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings

from upstreams.credentials.presented import Presented, in_headers
from upstreams.credentials.vault import Use, missing
from upstreams.discovery import read_tools
from upstreams.errors import NeedsConnection, NeedsScope, Unreachable, UpstreamError
from upstreams.probe import Means, Opener
from upstreams.runners.base import Command, Process
from upstreams.transports.endpoint import Endpoint
from upstreams.types import UpstreamSpec

TRIAL_S = 15


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the upstream said: it took the credential, refused it, or could not be asked (`why`, one sentence)."""

    taken: Literal["yes", "no", "unknown"]
    why: str = ""


class _Fixed:
    """Presents one secret that is not stored anywhere."""

    def __init__(self, spec: UpstreamSpec, secret: Mapping[str, Any]) -> None:
        self._use = Use(spec, "trial")
        self._shown = Presented("", 0, *in_headers(spec, secret))

    async def present(self) -> Presented:
        return self._shown

    async def instead_of(self, refused: Presented) -> Presented:
        raise missing(self._use)

    async def refused(self, again: Presented) -> NeedsConnection:
        return missing(self._use)

    async def accepted(self) -> None:
        return None


class _NoRunner:
    level = "none"

    async def start(self, command: Command) -> Process:
        raise Unreachable("A command is not started for a trial.")

    async def close(self) -> None:
        return None


class _Nobody:
    def noticed(self, method: str, params: Mapping[str, Any]) -> None:
        return None

    def renewed(self) -> None:
        return None

    def lost(self, error: UpstreamError) -> None:
        return None


async def tried(spec: UpstreamSpec, secret: Mapping[str, Any]) -> Verdict:
    """Whether the upstream takes this secret. A command is not started for it."""
    if spec.transport == "stdio":
        return Verdict("unknown", "A command is not asked before it is needed.")
    try:
        async with asyncio.timeout(TRIAL_S):
            await _ask(spec, secret)
    except (NeedsConnection, NeedsScope) as error:
        return Verdict("no", error.text if isinstance(error, NeedsScope) else f"{spec.slug} did not accept it.")
    except TimeoutError:
        return Verdict("unknown", "The upstream did not answer in time.")
    except UpstreamError as error:
        return Verdict("unknown", error.text)
    return Verdict("yes")


async def _ask(spec: UpstreamSpec, secret: Mapping[str, Any]) -> None:
    limits = settings.HUB.limits
    means = Means(limits, _NoRunner(), settings.HUB.egress_allow)
    endpoint = Endpoint(spec, (*means.allow, *spec.egress_allow), limits)
    opener = Opener(spec, means, {}, _Nobody(), _Fixed(spec, secret))
    link = await (opener.sse(endpoint) if spec.transport == "sse" else opener.http(endpoint, ""))
    try:
        if "tools" in link.facts.capabilities:
            await read_tools(link.request, limits)
    finally:
        await link.close()
        endpoint.origin.close()
