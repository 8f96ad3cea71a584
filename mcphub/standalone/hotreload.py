"""`--hot-reload`: the rows follow the servers file while the hub runs; a bad file keeps the old state."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
import watchfiles

from mcphub.core.aio import in_thread
from upstreams.services import SyncReport

DEBOUNCE_MS: Final = 200

log = structlog.get_logger(__name__)


async def follow(target: Path, take_over: Callable[[], SyncReport], started: asyncio.Event) -> None:
    """Take the file over at each change, until cancelled. `started` is set once changes are seen.

    `target` is absolute. Its folder is watched, not the file itself, for editors replace files.
    """
    changes = watchfiles.awatch(
        target.parent,
        watch_filter=lambda _change, name: Path(name).name == target.name,
        debounce=DEBOUNCE_MS,
        recursive=False,
        yield_on_timeout=True,
        rust_timeout=DEBOUNCE_MS,
    )
    async for changed in changes:
        started.set()
        if changed:
            tell(target, await in_thread(take_over))


def tell(path: Path, report: SyncReport) -> None:
    """Log what following the file changed, or every fault that kept it from changing anything."""
    for fault in report.faults:
        log.error("servers_file_refused", file=str(path), fault=str(fault))
    for warning in report.warnings:
        log.warning("servers_file", file=str(path), warning=str(warning))
    if not report.faults:
        log.info(
            "servers_file_followed",
            file=str(path),
            added=list(report.added),
            changed=list(report.changed),
            removed=list(report.removed),
        )
