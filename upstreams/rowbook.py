"""The connections' book, kept in rows: states, catalogues and due work (`upstreams.reports.Book`)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

import structlog
from django.db import Error as DatabaseError

from mcphub.core.aio import in_thread
from upstreams import selectors, services
from upstreams.credentials import selectors as credentials
from upstreams.reports import DueWork, Listing, Report, Standing

log = structlog.get_logger(__name__)

NOTHING_DUE = DueWork({}, {})


class RowBook:
    """A database that does not answer costs a log line, never a link. `worker` is whose reports these are."""

    def __init__(self, worker: str = "") -> None:
        self._worker = worker

    async def report(self, upstream_id: str, report: Report) -> None:
        """See `Book.report`."""
        try:
            await in_thread(
                services.record_state,
                upstream_id,
                report.state,
                facts=report.facts,
                error=report.error,
                stderr_tail=report.stderr_tail,
                worker=self._worker,
            )
        except DatabaseError as error:
            log.warning("state_not_kept", upstream=upstream_id, error=type(error).__name__)

    async def alive(self, upstream_id: str) -> None:
        """See `Book.alive`."""
        await self.report(upstream_id, Report("up"))

    async def catalogue(self, upstream_id: str, holder: str, listing: Listing) -> bool:
        """See `Book.catalogue`."""
        try:
            report = await in_thread(services.store_catalogue, upstream_id, holder, listing)
        except DatabaseError as error:
            log.warning("catalogue_not_kept", upstream=upstream_id, error=type(error).__name__)
            return False
        return report.differs

    async def people_due(self, upstream_id: str, every_s: float | None) -> Sequence[str]:
        """See `Book.people_due`."""
        try:
            return await in_thread(credentials.people_due, upstream_id, every_s)
        except DatabaseError:
            return ()

    async def due(self) -> DueWork:
        """See `Book.due`."""
        try:
            due = await in_thread(selectors.due)
        except DatabaseError:
            return NOTHING_DUE
        return DueWork(due.refresh, due.restart)

    async def take(self, upstream_id: str, work: Literal["refresh", "restart"], asked_at: datetime) -> bool:
        """See `Book.take`."""
        take = services.take_refresh if work == "refresh" else services.take_restart
        try:
            return await in_thread(take, upstream_id, asked_at)
        except DatabaseError:
            return False

    async def standing(self, upstream_ids: Collection[str]) -> Mapping[str, Standing]:
        """See `Book.standing`."""
        try:
            return await in_thread(selectors.standing, upstream_ids)
        except DatabaseError:
            return {}
