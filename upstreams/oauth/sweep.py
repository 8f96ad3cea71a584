"""Every ten minutes: what ends soon, or is old, is refreshed before anybody needs it."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from mcphub.core.clock import now
from upstreams.errors import UpstreamError
from upstreams.oauth.due import due, swept
from upstreams.oauth.renewal import renew

AT_ONCE: Final = 8

log = structlog.get_logger(__name__)


def sweep() -> int:
    """Refresh what is due; how much that was. Safe to run twice: each row is refreshed once."""
    found = due(now())
    asyncio.run(_refresh(found))
    swept()
    return len(found)


async def _refresh(found: Sequence[tuple[str, int]]) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(credential_id: str, version: int) -> None:
        async with room:
            try:
                await renew(credential_id, version)
            except UpstreamError as fault:
                log.info("sweep_left", credential=credential_id, why=fault.text)

    await asyncio.gather(*(one(*each) for each in found))
